"""Small files of a data set, read as they are: no link is followed, and none is larger than it may be."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISREG

from terrasynth.synthesis.core.errors import RunError


def read_file(path: Path, most: int) -> bytes | None:
    """The bytes of a regular file; None where there is none.

    Args:
        path: The file; its folder is one of ours.

    Raises:
        RunError: It is larger.
    """
    try:
        # O_NONBLOCK: opening a pipe would wait for its other end
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        stat = os.fstat(handle)
        if not S_ISREG(stat.st_mode):
            return None
        if stat.st_size > most:
            raise RunError(f"{path.name} has {stat.st_size:,} bytes, more than the {most:,} that are sent; copy it "
                           "from the folder itself")
        return file.read(most + 1)[:most]


def regular_files(folder: Path) -> list[str]:
    """The names of the regular files directly inside a folder, sorted; none where it is a link."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
