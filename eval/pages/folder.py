"""The folder of a report: empty, or with an earlier report of the same kind, and nothing of anybody else's."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from terrasynth.eval.errors import InputError

TEMPORARY = ".tmp"


def check_report_folder(folder: Path, record: str, kind: str) -> None:
    """Make the folder, or check that an earlier report of this kind is all that it holds.

    Args:
        folder: Where a report is to be written.
        record: Name of the JSON file of such a report.
        kind: What that file says under "kind".

    Raises:
        InputError: It is a file, holds something else, or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{str(folder)!r} is a file; choose a folder for the report")
    if folder.is_dir() and any(entry.suffix != TEMPORARY for entry in folder.iterdir()):
        try:
            tree = json.loads((folder / record).read_text("utf-8"))
        except (OSError, ValueError):
            tree = None
        if not isinstance(tree, dict) or tree.get("kind") != kind:
            raise InputError(f"{str(folder)!r} holds files that this command did not write; choose an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write {str(folder)!r}: {error.strerror}; choose another folder") from error
