"""Whether a file is still the one that was listed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from terrasynth.training.errors import ImageError


@dataclass(frozen=True)
class Stamp:
    """What tells a file from another one that takes its place.

    Attributes:
        size: In bytes.
        modified: Time of the last change, in nanoseconds.
        inode: Number of its record.
    """

    size: int
    modified: int
    inode: int

    def check(self, file: BinaryIO) -> None:
        """Check that an open file is the one that was listed.

        Raises:
            ImageError: It is another one, or was written to.
        """
        if _stamp(os.fstat(file.fileno())) != self:
            raise ImageError("its file changed after it was listed; run the same command again")


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file that exists."""
    return _stamp(path.stat())


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ino)
