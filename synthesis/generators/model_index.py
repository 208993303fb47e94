"""The JSON files of a pipeline's folder, read with one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from terrasynth.synthesis.core.errors import InputError, one_line


def read_index(folder: Path, reference: str) -> dict[str, object]:
    """The index of a pipeline's components.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise InputError(
            f"model {reference!r} has no model_index.json, so it is no text-to-image pipeline; "
            "give a folder saved with save_pretrained() of a diffusers pipeline"
        )
    return read_json(index, reference)


def read_json(path: Path, reference: str) -> dict[str, object]:
    """One of the JSON files of a model.

    Raises:
        InputError: It cannot be read, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"model {reference!r}: {path.name} cannot be read ({one_line(error, 100)})") from error
    if not isinstance(content, dict):
        raise InputError(f"model {reference!r}: {path.name} is no JSON object")
    return content
