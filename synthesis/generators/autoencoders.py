"""Autoencoders that stand apart from a pipeline: found, and hashed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrasynth.eval.models.references import UNFINISHED, embedded_models, is_unfinished
from terrasynth.hub_ids import is_hub_id
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.generators.network_files import CARD, CONFIG, found_or_fetched, weights_revision

INDEX = "model_index.json"
NAMES = ("vae", "vqvae", "movq")  # of a pipeline's autoencoder, as diffusers' pipelines and our own call it


@dataclass(frozen=True)
class Autoencoder:
    """The files of an autoencoder, found.

    Attributes:
        name: Hub id; "model/part" for a part of a pipeline; or the name of a local folder.
        revision: Hash of its configuration and of the weights that are loaded; nothing else in its folder counts.
        kind: Name of its class in diffusers.
    """

    name: str
    revision: str
    folder: Path
    kind: str


def find_autoencoder(reference: str) -> Autoencoder:
    """Find an autoencoder's files without loading them; one on the Hub that is not cached yet is fetched.

    Args:
        reference: Folder with `config.json` and safetensors weights of an autoencoder of diffusers; one that is
            embedded, such as "vae-rs", or part of an embedded model, such as "ldm-ucm/vae"; or Hub id with optional
            @revision.

    Raises:
        InputError: There is none, it is no autoencoder, or its weights are missing or pickled.
    """
    what = f"autoencoder {reference!r}"
    folder, name = autoencoder_folder(reference, what)
    return _described(folder, name, what)


def cached_autoencoder(reference: str) -> Autoencoder:
    """Like `find_autoencoder`, but nothing is fetched, and no message holds a path.

    Raises:
        InputError: It is not on this machine, or cannot be used.
    """
    place, name = local_autoencoder(reference)
    what = f"the autoencoder {name!r}"
    if place is None:
        from huggingface_hub import try_to_load_from_cache

        identifier, _, revision = reference.partition("@")
        known = is_hub_id(identifier)
        found = try_to_load_from_cache(identifier, CONFIG, revision=revision or None) if known else None
        if not isinstance(found, str):
            raise InputError(f"{what} is not on this machine")
        place, name = Path(found).parent, identifier
    return _described(place, name, what)


def local_autoencoder(reference: str) -> tuple[Path | None, str]:
    """Folder of an autoencoder on this machine, and what it is called; None where it has to be one on the Hub.

    Args:
        reference: As `find_autoencoder` takes it; nothing is fetched, and no file is read.
    """
    from terrasynth.synthesis.core.embedded import WEIGHTS as EMBEDDED

    model, _, part = reference.partition("/")
    embedded = embedded_models([EMBEDDED]).get(model)
    if embedded is not None and part in NAMES and (embedded / part).is_dir():
        return embedded / part, reference
    if embedded is not None and not part and not (embedded / INDEX).is_file():
        return embedded, reference
    folder = Path(os.path.expanduser(reference))
    if not os.path.isdir(folder):
        return None, reference if is_hub_id(reference.partition("@")[0]) else folder.name
    whole = folder.resolve()
    return folder, f"{whole.parent.name}/{whole.name}" if (whole.parent / INDEX).is_file() else whole.name


def card_folder(folder: Path) -> Path:
    """Where the card of an autoencoder lies: beside it, or beside the pipeline that it is a part of."""
    whole = folder.resolve()
    return whole.parent if not (whole / CARD).is_file() and (whole.parent / INDEX).is_file() else folder


def autoencoder_folder(reference: str, what: str) -> tuple[Path, str]:
    """Folder and name of an autoencoder of diffusers; see `find_autoencoder`.

    Args:
        reference: As `find_autoencoder` takes it.
        what: Begins the messages: which setting it is, and its value.

    Raises:
        InputError: There is none, or it cannot be fetched.
    """
    folder, name = found_or_fetched(
        reference, local_autoencoder(reference), what, "autoencoder", f"is no autoencoder of diffusers; give a folder "
        f"with its {CONFIG} and weights, a part of an embedded model such as ldm-ucm/vae, or a Hub id as owner/name")
    kind_of(folder, what)
    return folder, name


def kind_of(folder: Path, what: str) -> str:
    """The class of an autoencoder, by its `config.json`.

    Raises:
        InputError: It has none, or one that is no network of diffusers that encodes and decodes.
    """
    import diffusers

    if not (folder / CONFIG).is_file():
        parts = [part for part in NAMES if (folder / part / CONFIG).is_file()]
        if (folder / INDEX).is_file() and parts:
            raise InputError(f"{what} is a whole pipeline and no autoencoder of diffusers; give its folder {parts[0]}")
        if is_unfinished(folder):
            raise InputError(f"{what}: {UNFINISHED}")
        raise InputError(f"{what} has no {CONFIG}, so it is no autoencoder of diffusers; give the folder that "
                         "save_pretrained() of one wrote, or a Hub id as owner/name")
    try:
        named: Any = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["_class_name"]
        kind = getattr(diffusers, named, None)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        named = kind = None
    is_network = isinstance(kind, type) and issubclass(kind, diffusers.ModelMixin)
    if not is_network or not all(callable(getattr(kind, name, None)) for name in ("encode", "decode")):
        said = "of no class" if named is None else f"{named!r:.60}"
        raise InputError(f"{what} is {said}, which is no autoencoder of diffusers; give the folder or the Hub id of "
                         "one, such as an AutoencoderKL or an AutoencoderTiny")
    return str(named)


def _described(folder: Path, name: str, what: str) -> Autoencoder:
    kind = kind_of(folder, what)
    return Autoencoder(name, weights_revision(folder, what), folder, kind)
