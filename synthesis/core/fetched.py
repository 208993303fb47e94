"""Folders of objects kept on this machine's disk, for what reads files many times: real data.

A copy is compared with a listing each time: what is new or has another tag is fetched, what is gone goes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

from terrasynth.synthesis.core.errors import InputError, disk_errors
from terrasynth.synthesis.core.files import replacing
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.synthesis.core.storage.object_path import MOST_AT_ONCE, ObjectPath, place

NOTED = "fetched.json"
ALONE = (".parquet", ".tar")
"""Endings of files that hold all that they speak of; of others, their folder is what can be read."""


def fetched_folder() -> Path:
    """`$XDG_CACHE_HOME/terrasynth/fetched`, where that is not set under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "terrasynth" / "fetched"


def on_this_machine(given: str | Path) -> Path:
    """A place as a path of this machine's disk: of an address, that of a copy; see `fetched`."""
    path = place(given)
    return fetched(path) if isinstance(path, ObjectPath) else path


def fetched(source: ObjectPath) -> Path:
    """A copy of what lies at an address, as it lies there now.

    Args:
        source: A folder of objects, or one object that holds all that it speaks of.

    Returns:
        The folder, or the file, which has the name that it has there.

    Raises:
        InputError: Nothing lies there, a list of images is named without its folder, or a name leads out of it.
        StoreError: The store cannot be reached, or refuses.
        RunError: The disk is full.
    """
    home = fetched_folder() / hashlib.sha256(str(source).encode()).hexdigest()[:24]
    below = {f"{source.name}/{name}": entry for name, entry in source.store.below(source.key)}
    if not below:
        entry = source.store.entry(source.key)
        if entry is None:
            raise InputError(f"data {str(source)!r} does not exist; correct the address")
        if source.suffix.lower() not in ALONE:
            raise InputError(f"data {str(source)!r} is a file that may speak of others; give its folder, "
                             f"{str(source.parent)!r}")
        below = {source.name: entry}
    kept = _noted(home)
    for name, entry in below.items():
        stamp = [entry.size, entry.tag]
        file = home / _inside(name, source)
        if kept.get(name) != stamp or not file.is_file() or file.stat().st_size != entry.size:
            _fetch(source.parent / name, file, entry.size)
    for name in kept.keys() - below.keys():
        (home / name).unlink(missing_ok=True)
    with disk_errors(str(home)):
        write_record(home / NOTED, {name: [entry.size, entry.tag] for name, entry in below.items()})
    return home / source.name


def _fetch(source: ObjectPath, copy: Path, size: int) -> None:
    with replacing(copy, f".{os.getpid()}") as file:
        for start in range(0, size, MOST_AT_ONCE):
            file.write(source.store.read(source.key, start, min(size, start + MOST_AT_ONCE)))


def _inside(name: str, source: ObjectPath) -> str:
    parts = PurePosixPath(name).parts
    if "\0" in name or ".." in parts or "/".join(parts) != name:
        raise InputError(f"data {str(source)!r} holds {name!r:.80}, which is no name of a file; rename the object")
    return name


def _noted(home: Path) -> dict[str, object]:
    try:
        return read_record(home / NOTED)
    except (FileNotFoundError, RecordError):  # all of it is fetched
        return {}
