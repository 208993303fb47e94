"""Low-rank adapters (Hu et al., ICLR 2022) of a generator: found, and hashed."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from terrasynth.eval.models.references import KNOWLEDGE_FILE, PICKLED_SUFFIXES, SAMPLING_FILE, UNFINISHED, is_unfinished
from terrasynth.hashing import files_hash
from terrasynth.hub_ids import is_hub_id, meant, missing_here
from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml
from terrasynth.synthesis.generators.conditions.caption import (
    FILE,
    Conditioning,
    Tuned,
    read_conditioning,
    read_tuned,
)

DIFFUSERS_FILE, PEFT_FILE = "pytorch_lora_weights.safetensors", "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
TEXT_ENCODER = "text_encoder"
SCHEDULER_FILE = "scheduler/scheduler_config.json"
DECIDING = (DIFFUSERS_FILE, PEFT_FILE, PEFT_CONFIG, FILE, f"{TEXT_ENCODER}/{PEFT_FILE}",
            f"{TEXT_ENCODER}/{PEFT_CONFIG}", SCHEDULER_FILE)
log = logging.getLogger("terrasynth")


@dataclass(frozen=True)
class Lora:
    """The files of a LoRA, found.

    Attributes:
        name: Hub id, or the name of a local folder.
        revision: Hash of the weights and of what goes with them; cards do not count.
        weights: Name of the file with the weights.
        scale: Factor of what the LoRA adds to the weights of its base.
        base: The model that it says it was trained on; "" where it does not say.
        alone: It is one file, and what lies in the folder beside it is not its own.
    """

    name: str
    revision: str
    folder: Path
    weights: str
    scale: float
    base: str
    alone: bool = False

    @property
    def conditioning(self) -> Conditioning | None:
        """How it wants captions to be written; None where it says nothing."""
        return read_conditioning(self.folder) if not self.alone and (self.folder / FILE).is_file() else None

    @property
    def tuned(self) -> Tuned:
        """What its folder says of its training; nothing where it says nothing."""
        return Tuned() if self.alone else read_tuned(self.folder)

    @property
    def scheduler(self) -> Path | None:
        """The scheduler that takes its steps, where it was distilled to few; None where its base's does."""
        path = self.folder / SCHEDULER_FILE
        return path if not self.alone and path.is_file() else None


def find_lora(reference: str, scale: float = 1.0) -> Lora:
    """Find a LoRA's files without loading them; one on the Hub that is not cached yet is fetched.

    Args:
        reference: Folder with `pytorch_lora_weights.safetensors` (diffusers), `adapter_model.safetensors` (peft) or one
            other safetensors file; such a file itself; or Hub id with optional @revision.
        scale: Factor of what it adds to the weights.

    Raises:
        InputError: There is no such LoRA, its weights are pickled, or the scale is no finite number.
    """
    if not math.isfinite(scale):
        raise InputError(f"LoRA scale {scale} is no finite number; give one such as 0.8")
    path = Path(os.path.expanduser(reference))
    if path.is_file():
        return _single_file(path, reference, scale)
    if path.is_dir():
        folder, name = path, path.resolve().name
    else:
        name, _, revision = reference.partition("@")
        file = path.suffix in (".safetensors", *PICKLED_SUFFIXES)
        if not file and (missing := missing_here(reference)):
            raise InputError(f"LoRA {reference!r} {missing}")
        if file or not is_hub_id(name):
            raise InputError(f"LoRA {reference!r}: no such folder or file{meant(reference)}, and not a Hub id; give "
                             f"the folder that holds {DIFFUSERS_FILE}, the file itself, or write owner/name")
        folder = _fetch(name, revision or None)
    weights = _weights_file(folder, reference)
    return Lora(name, _content_hash(folder, _counting(weights)), folder, weights, float(scale), _base(folder))


def local_lora(reference: str) -> tuple[Path | None, str]:
    """Where the card of a LoRA on this machine lies, and what it is called; None where it has none, or is on the Hub.

    Args:
        reference: As `find_lora` takes it; nothing is fetched and no weights are read.
    """
    path = Path(os.path.expanduser(reference))
    if path.is_file():
        own = path.name in (DIFFUSERS_FILE, PEFT_FILE)
        return (path.parent, path.parent.resolve().name) if own else (None, path.stem)
    return (path, path.resolve().name) if path.is_dir() else (None, reference)


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    log.warning("LoRA %s: asking %s", name, constants.ENDPOINT)
    try:
        wanted = [*DECIDING, SAMPLING_FILE, KNOWLEDGE_FILE, "README.md"]
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
        if any((folder / known).is_file() for known in (DIFFUSERS_FILE, PEFT_FILE)):
            return folder
        return Path(snapshot_download(  # of another name; not what lies deeper, which may be a whole pipeline
            name, revision=revision, allow_patterns=["*.safetensors"], ignore_patterns=["*/*"]
        ))
    except (OSError, ValueError) as error:
        raise InputError(
            f"LoRA {name!r} is not a folder{meant(name)}, and cannot be fetched from the Hub ({one_line(error, 160)}); "
            "check the id, or give a folder"
        ) from error


def _single_file(path: Path, reference: str, scale: float) -> Lora:
    """A LoRA given as one file; what lies beside it belongs to it only where its name is one of the libraries'."""
    if path.suffix in PICKLED_SUFFIXES:
        raise InputError(_pickled(reference, path.name))
    if path.suffix != ".safetensors":
        raise InputError(f"LoRA {reference!r} is a file of another kind; give a .safetensors file or a folder")
    folder = path.parent
    if path.name in (DIFFUSERS_FILE, PEFT_FILE):
        name = folder.resolve().name
        return Lora(name, _content_hash(folder, _counting(path.name)), folder, path.name, scale, _base(folder))
    return Lora(path.stem, _content_hash(folder, [path.name]), folder, path.name, scale, "", alone=True)


def _weights_file(folder: Path, reference: str) -> str:
    for known in (DIFFUSERS_FILE, PEFT_FILE):
        if (folder / known).is_file():
            return known
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"LoRA {reference!r} has several files of weights ({', '.join(found[:4])}); "
                         f"give the path of one of them, as {folder / found[0]}")
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED_SUFFIXES)
    if pickled:
        raise InputError(_pickled(reference, pickled[0]))
    if is_unfinished(folder):
        raise InputError(f"LoRA {reference!r}: {UNFINISHED}")
    raise InputError(f"LoRA {reference!r} has no {DIFFUSERS_FILE}; give the folder that save_lora_weights() wrote")


def _pickled(reference: str, name: str) -> str:
    return (f"LoRA {reference!r}: its weights are pickled ({name}), and loading a pickle runs code; save them as "
            "safetensors")


def _counting(weights: str) -> list[str]:
    """The files that decide what a LoRA in a folder of its own adds."""
    others = [name for name in DECIDING if name not in (DIFFUSERS_FILE, PEFT_FILE)]
    return [weights, *(others if weights == PEFT_FILE else [FILE, SCHEDULER_FILE])]


def _content_hash(folder: Path, names: Sequence[str]) -> str:
    return files_hash((name, folder / name) for name in names if (folder / name).is_file())


def _base(folder: Path) -> str:
    """The base model by `terrasynth.json`, else by the card's header, else by peft's configuration."""
    said: object = read_conditioning(folder).base
    card = folder / "README.md"
    if not said and card.is_file():
        _, _, header = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
        try:
            tree = parse_yaml(header.partition("\n---")[0], foreign=True)
        except YamlError:
            tree = None
        named = tree.get("base_model") if isinstance(tree, dict) else None
        said = named[0] if isinstance(named, list) and named else named
    if not said and (folder / PEFT_CONFIG).is_file():
        try:
            said = json.loads((folder / PEFT_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
        except ValueError:
            said = None
    return said if isinstance(said, str) else ""
