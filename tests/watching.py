"""What a command does to the file system, as Python's audit events tell it: every file that is opened to be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = {"os.mkdir": 0, "os.remove": 0, "os.rmdir": 0, "os.truncate": 0, "os.chmod": 0, "os.rename": 1,
          "os.symlink": 1, "os.link": 1}
"""Events that change the file system, and which of their arguments is the place."""

_watchers: list[list[str]] = []
_installed = False


@contextmanager
def watching() -> Iterator[list[str]]:
    """Note each place that Python code of this process writes to; devices are none."""
    global _installed
    if not _installed:
        sys.addaudithook(_heard)  # which can never be removed
        _installed = True
    found: list[str] = []
    _watchers.append(found)
    try:
        yield found
    finally:
        _watchers.remove(found)


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    if not _watchers:
        return
    if event == "open":
        path, _, flags = arguments
        place = path if isinstance(flags, int) and flags & WRITING else None
    elif event in EVENTS:
        place = arguments[EVENTS[event]]
    else:
        return
    if isinstance(place, bytes):
        place = os.fsdecode(place)
    if isinstance(place, str) and not place.startswith("/dev/") and not (event == "open" and os.path.isdir(place)):
        # a folder that is opened so holds a temporary file without a name, which is gone when it is closed
        for found in _watchers:
            found.append(str(Path(place).absolute()))
