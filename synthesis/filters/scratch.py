"""A temporary file that many share, so that a run with a thousand classes needs one file handle for it, not thousands.

It has no name: memory stays flat however long the run is, and a kill leaves nothing behind.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from weakref import WeakValueDictionary

from terrasynth.synthesis.core.errors import disk_errors
from terrasynth.synthesis.core.files import local_folder


class ScratchFile:
    """Bytes outside memory; it lasts as long as somebody holds it."""

    def __init__(self, folder: Path) -> None:
        with disk_errors(f"a temporary file in {str(folder)!r}"):
            self._file = tempfile.TemporaryFile(dir=local_folder(folder))  # noqa: SIM115 - lives as long as those who share it
        self._folder = folder
        self._size = 0

    def append(self, data: bytes) -> tuple[int, int]:
        """Keep bytes; returns where they begin and how many they are, as `read` takes it.

        Raises:
            RunError: The disk is full.
        """
        place = self._size, len(data)
        with disk_errors(f"a temporary file in {str(self._folder)!r}"):
            self._file.seek(self._size)
            self._file.write(data)
            self._file.flush()
        self._size += len(data)
        return place

    def read(self, start: int, size: int) -> bytes:
        """Bytes that were kept."""
        self._file.seek(start)
        return self._file.read(size)


_OPEN: WeakValueDictionary[Path, ScratchFile] = WeakValueDictionary()


def scratch_file(folder: Path) -> ScratchFile:
    """The file that all who ask for this folder share while one of them holds it."""
    key = folder.absolute()
    found = _OPEN.get(key)
    if found is None:
        found = _OPEN[key] = ScratchFile(folder)
    return found
