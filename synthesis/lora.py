"""Low-rank adapters (Hu et al., ICLR 2022) of a generator: found, hashed, and folded into its weights."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthesis.conditioning import FILE, Conditioning, read_conditioning
from synthesis.errors import InputError, one_line
from synthesis.quiet import quiet

DIFFUSERS_FILE, PEFT_FILE = "pytorch_lora_weights.safetensors", "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
TEXT_ENCODER = "text_encoder"
SCHEDULER_FILE = "scheduler/scheduler_config.json"
DECIDING = (DIFFUSERS_FILE, PEFT_FILE, PEFT_CONFIG, FILE, f"{TEXT_ENCODER}/{PEFT_FILE}",
            f"{TEXT_ENCODER}/{PEFT_CONFIG}", SCHEDULER_FILE)
log = logging.getLogger("terrasynth")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w")


@dataclass(frozen=True)
class Lora:
    """The files of a LoRA, found.

    Attributes:
        name: Hub id, or the name of a local folder.
        revision: Hash of the weights and of what goes with them; cards do not count.
        folder: Where the files are.
        weights: Name of the file with the weights.
        scale: Factor of what the LoRA adds to the weights of its base.
        base: The model that it says it was trained on; "" where it does not say.
    """

    name: str
    revision: str
    folder: Path
    weights: str
    scale: float
    base: str

    @property
    def conditioning(self) -> Conditioning | None:
        """How it wants captions to be written; None where it says nothing."""
        return read_conditioning(self.folder) if (self.folder / FILE).is_file() else None

    @property
    def scheduler(self) -> Path | None:
        """The scheduler that takes its steps, where it was distilled to few; None where its base's does."""
        path = self.folder / SCHEDULER_FILE
        return path if path.is_file() else None


def find_lora(reference: str, scale: float = 1.0) -> Lora:
    """Find a LoRA's files without loading them; one on the Hub that is not cached yet is fetched.

    Args:
        reference: Folder with `pytorch_lora_weights.safetensors` (diffusers), `adapter_model.safetensors` (peft) or one
            other safetensors file; or Hub id with optional @revision.
        scale: Factor of what it adds to the weights.

    Raises:
        InputError: There is no such LoRA, or its weights are pickled.
    """
    folder = Path(reference).expanduser()
    if folder.is_dir():
        name = folder.resolve().name
    else:
        name, _, revision = reference.partition("@")
        if not _HUB_ID.fullmatch(name):
            raise InputError(f"LoRA {reference!r}: no such folder, and not a Hub id; give the folder that holds "
                             f"{DIFFUSERS_FILE}, or write owner/name")
        folder = _fetch(name, revision or None)
    weights = _weights_file(folder, reference)
    return Lora(name, _content_hash(folder, weights), folder, weights, float(scale), _base(folder))


def fold_in(pipeline: Any, lora: Lora, model: str) -> None:  # noqa: ANN401 - a pipeline of any class
    """Add a LoRA to the weights of a loaded pipeline, so that it costs nothing in sampling.

    Args:
        pipeline: The pipeline.
        lora: The LoRA.
        model: What to call the pipeline in an error.

    Raises:
        InputError: It does not fit this pipeline.
    """
    try:
        with quiet():
            if lora.weights == PEFT_FILE:
                _merge_peft(pipeline, lora)
            else:
                _fuse_diffusers(pipeline, lora)
    except ImportError as error:
        raise InputError(f"LoRA {lora.name!r} needs peft ({one_line(error)[:100]}); pip install peft") from error
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, TypeError) as error:
        wanted = f"; it was trained on {lora.base!r}" if lora.base else "; take the model that it was trained on"
        raise InputError(
            f"LoRA {lora.name!r} does not fit the {type(pipeline).__name__} {model!r}: {one_line(error)[:160]}{wanted}"
        ) from error


def _fuse_diffusers(pipeline: Any, lora: Lora) -> None:  # noqa: ANN401
    if not hasattr(pipeline, "load_lora_weights"):
        raise ValueError(f"this kind of pipeline takes no {lora.weights}, only {PEFT_FILE} as peft writes it")
    pipeline.load_lora_weights(lora.folder, weight_name=lora.weights, local_files_only=True)
    parts = [name for name, adapters in pipeline.get_list_adapters().items() if adapters]
    if not parts:  # diffusers warns of that and goes on without
        raise ValueError("none of its layers is one of this pipeline's")
    pipeline.fuse_lora(components=parts, lora_scale=lora.scale, safe_fusing=True)
    pipeline.unload_lora_weights()


def _merge_peft(pipeline: Any, lora: Lora) -> None:  # noqa: ANN401
    name = "transformer" if getattr(pipeline, "transformer", None) is not None else "unet"
    for part, folder in ((name, lora.folder), (TEXT_ENCODER, lora.folder / TEXT_ENCODER)):
        if (folder / PEFT_FILE).is_file():
            setattr(pipeline, part, _merged(getattr(pipeline, part), folder, lora.scale))


def _merged(network: Any, folder: Path, scale: float) -> Any:  # noqa: ANN401 - a network of any class
    from peft import PeftModel, get_peft_model_state_dict
    from peft.tuners.lora import LoraLayer
    from safetensors import safe_open

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers without weights it only warns, and goes on
        model = PeftModel.from_pretrained(network, str(folder))
    with safe_open(folder / PEFT_FILE, "pt") as file:
        strangers = set(file.keys()) ^ set(get_peft_model_state_dict(model))
    if strangers:
        raise ValueError(f"{len(strangers)} of its layers are none of this network's, as {min(strangers)}")
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.scale_layer(scale)
    return model.merge_and_unload(safe_merge=True)


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    log.warning("LoRA %s: asking %s", name, constants.ENDPOINT)
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*DECIDING, "README.md"]))
        if any((folder / known).is_file() for known in (DIFFUSERS_FILE, PEFT_FILE)):
            return folder
        return Path(snapshot_download(  # of another name; not what lies deeper, which may be a whole pipeline
            name, revision=revision, allow_patterns=["*.safetensors"], ignore_patterns=["*/*"]
        ))
    except (OSError, ValueError) as error:
        raise InputError(
            f"LoRA {name!r} is not a folder, and cannot be fetched from the Hub ({one_line(error)[:160]}); "
            "check the id, or give a folder"
        ) from error


def _weights_file(folder: Path, reference: str) -> str:
    for known in (DIFFUSERS_FILE, PEFT_FILE):
        if (folder / known).is_file():
            return known
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"LoRA {reference!r} has several files of weights ({', '.join(found[:4])}); "
                         f"keep one of them in a folder of its own, as {DIFFUSERS_FILE}")
    from eval.models import PICKLED_SUFFIXES

    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED_SUFFIXES)
    if pickled:
        raise InputError(f"LoRA {reference!r}: its weights are pickled ({pickled[0]}), and loading a pickle runs code; "
                         "save them as safetensors")
    raise InputError(f"LoRA {reference!r} has no {DIFFUSERS_FILE}; give the folder that save_lora_weights() wrote")


def _content_hash(folder: Path, weights: str) -> str:
    digest = hashlib.sha256()
    others = [name for name in DECIDING if name not in (DIFFUSERS_FILE, PEFT_FILE)]
    for name in (weights, *(others if weights == PEFT_FILE else [FILE, SCHEDULER_FILE])):
        path = folder / name
        if path.is_file():
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()[:16]


def _base(folder: Path) -> str:
    """The base model by `terrasynth.json`, else by the card's header, else by peft's configuration."""
    said: object = read_conditioning(folder).base
    card = folder / "README.md"
    if not said and card.is_file():
        import yaml

        _, _, header = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
        try:
            tree = yaml.safe_load(header.partition("\n---")[0])
        except yaml.YAMLError:
            tree = None
        named = tree.get("base_model") if isinstance(tree, dict) else None
        said = named[0] if isinstance(named, list) and named else named
    if not said and (folder / PEFT_CONFIG).is_file():
        try:
            said = json.loads((folder / PEFT_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
        except ValueError:
            said = None
    return said if isinstance(said, str) else ""
