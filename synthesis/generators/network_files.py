"""One network of diffusers in files of its own: found or fetched, and hashed."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from terrasynth.eval.models.references import PICKLED_SUFFIXES
from terrasynth.hashing import files_hash
from terrasynth.hub_ids import is_hub_id, meant, missing_here
from terrasynth.prompts.addresses import shown
from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.generators.components import variant_of, weight_files
from terrasynth.synthesis.generators.conditions.caption import FILE as CONDITIONING_FILE

CONFIG, CARD = "config.json", "README.md"
WEIGHTS = "diffusion_pytorch_model"
FETCHED = (CONFIG, CARD, CONDITIONING_FILE, f"{WEIGHTS}*.safetensors", f"{WEIGHTS}*.json")
log = logging.getLogger("terrasynth")


def found_or_fetched(reference: str, local: tuple[Path | None, str], what: str, role: str,
                     otherwise: str) -> tuple[Path, str]:
    """Folder and name of a network; one on the Hub that is not cached yet is fetched.

    Args:
        reference: Folder, or Hub id with optional @revision.
        local: Its folder on this machine, None where there is none, and what it is called.
        what: Begins the messages: which setting it is, and its value.
        role: What it is, for the log.
        otherwise: Goes on where it is neither a folder nor a Hub id.

    Raises:
        InputError: There is none, or it cannot be fetched.
    """
    folder, name = local
    if folder is not None:
        return folder, name
    exists = os.path.exists(os.path.expanduser(reference))
    if not exists and (missing := missing_here(reference)):
        raise InputError(f"{what} {missing}")
    identifier, _, revision = reference.partition("@")
    if exists or not is_hub_id(identifier):
        raise InputError(f"{what} {otherwise}")
    return _fetch(identifier, revision or None, what, role), identifier


def weights_revision(folder: Path, what: str) -> str:
    """Hash of a network's configuration and of the weights of it that are loaded.

    Args:
        what: Begins the messages: which setting it is, and its value.

    Raises:
        InputError: Its weights are missing or pickled, or cannot be read.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    weights = [each for each in weight_files(names, variant_of(names, what)) if each.startswith(WEIGHTS)]
    if not any(each.endswith(".safetensors") for each in weights):
        pickled = next((each for each in names if Path(each).suffix in PICKLED_SUFFIXES), None)
        if pickled is not None:
            raise InputError(f"{what}: its weights are pickled ({pickled}), and loading a pickle runs code; convert "
                             "them with save_pretrained(..., safe_serialization=True)")
        raise InputError(f"{what} has a {CONFIG} and no {WEIGHTS}.safetensors; put its weights beside it")
    return _content_hash(folder, [CONFIG, *weights], what)


def _content_hash(folder: Path, names: Sequence[str], what: str) -> str:
    try:
        return files_hash((name, folder / name) for name in names)
    except OSError as error:
        which = Path(error.filename).name if error.filename else "a file"
        raise InputError(f"{what}: {which} cannot be read ({error.strerror}); check its rights") from error


def _fetch(identifier: str, revision: str | None, what: str, role: str) -> Path:
    from huggingface_hub import constants, snapshot_download

    log.warning("%s %s: asking %s", role, identifier, shown(constants.ENDPOINT))
    try:
        return Path(snapshot_download(identifier, revision=revision, allow_patterns=list(FETCHED)))
    except (OSError, ValueError) as error:
        raise InputError(f"{what} is not a folder{meant(identifier)}, and cannot be fetched from the Hub "
                         f"({one_line(error, 160)}); check the id, or give a folder") from error
