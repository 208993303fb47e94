"""Who holds a run directory? Asked without taking its lock, which a run that begins just now would find taken."""

from __future__ import annotations

import os
from pathlib import Path

from terrasynth.synthesis.core.files import LOCK

_TABLE = Path("/proc/locks")


def held_by_a_process(run: Path) -> bool:
    """Whether a process of this machine writes into a run directory; False where the system does not tell."""
    try:
        stat = (run / LOCK).stat()
        table = _TABLE.read_text()
    except OSError:
        return False
    place = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    return any(place in fields and "FLOCK" in fields and "WRITE" in fields
               for fields in map(str.split, table.splitlines()))
