"""By what a file is known again without being read: size, times and inode, compared with what was noted of it.

They are compared with one another only where they are of the same file. What changes a file without a trace in the
file system is missed, and found by who reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from terrasynth.synthesis.core.storage.object_path import ObjectPath

Stamp = tuple[int, int, int, int]
"""Bytes, times of change of content and of the file in ns, and inode. Of an object, bytes and zeros: its time and tag
are in no listing of a folder that is held, and cost a request each."""
ABSENT: Stamp = (0, 0, 0, 0)


def stamp_of(path: Path) -> Stamp:
    """That of a file; `ABSENT` where there is none."""
    if isinstance(path, ObjectPath):
        size = path.store.known_size(path.key)
        entry = path.store.entry(path.key) if size is None else None
        return (entry.size if entry is not None else size or 0), 0, 0, 0
    try:
        return _of(path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT


def stamps_in(folder: Path) -> Mapping[str, Stamp]:
    """Those of all files of a folder by name, listed at once; none where there is no folder."""
    if isinstance(folder, ObjectPath):
        return {name: (entry.size, 0, 0, 0) for name, entry in folder.store.folder(folder.key).files.items()}
    try:
        with os.scandir(folder) as entries:
            return {entry.name: _of(entry.stat()) for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _of(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
