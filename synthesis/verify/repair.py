"""What mends a run: damaged files are moved out of the way, and the same recipe makes exactly what is missing again.

Nothing is thrown away: what was damaged lies under `RUN/damaged/` until the user removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from terrasynth.synthesis.core.errors import disk_errors
from terrasynth.synthesis.core.files import locked, move
from terrasynth.synthesis.verify.faults import DAMAGED, Fault, Remedy

MOVED = (Remedy.DRAW, Remedy.MEASURE, Remedy.WRITE, Remedy.MOVE)
MENDED = (*MOVED, Remedy.REMOVE, Remedy.RUN)


def set_aside(root: Path, faults: Iterable[Fault]) -> list[Path]:
    """Move out of the way what can be made again, and what does not belong there.

    Args:
        faults: What `terrasynth.synthesis.verify.verifying.verify` found.

    Returns:
        Where the files lie now, below `damaged/`; what was missing, and what the next run removes, is not among them.

    Raises:
        InputError: Another process holds the run, or it cannot be written to.
    """
    with locked(root), disk_errors(str(root)):
        return list(_moved(root, faults))


def _moved(root: Path, faults: Iterable[Fault]) -> Iterator[Path]:
    for fault in faults:
        path = root / fault.file
        if fault.remedy not in MOVED or not path.is_file():
            continue
        target = _free(root / DAMAGED / fault.file)
        move(path, target)
        yield target


def _free(path: Path) -> Path:
    """The path, or with a number behind it where an earlier repair put something there."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
