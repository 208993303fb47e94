"""What a listing of an object store says, and the folders of which it is asked for once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

LEASES = ".lease"
"""The folder of objects that say who holds the folder in which it lies; they are no files of anybody's."""


class Entry(NamedTuple):
    """An object as a listing has it.

    Attributes:
        size: Bytes.
        tag: Another text when its content is another; "" where the store has none.
        modified: Seconds since 1970, by the store's clock.
    """

    size: int
    tag: str
    modified: float


@dataclass
class Folder:
    """What lies directly below a key.

    Attributes:
        files: Objects by name.
        folders: Names of which there are objects below.
    """

    files: dict[str, Entry] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)


@dataclass
class Held:
    """A folder to which this process alone writes, so that each listing of it is asked for once.

    Attributes:
        key: The folder.
        shared: Folders in it where others write, too: what lies there is asked for each time.
        check: Raises where this process no longer holds it.
    """

    key: str
    shared: tuple[str, ...]
    check: Callable[[], None]
    listed: dict[str, Folder] = field(default_factory=dict)

    def covers(self, key: str) -> bool:
        """Whether a key lies in it."""
        return key.startswith(f"{self.key}/")

    def is_shared(self, key: str) -> bool:
        """Whether others may write it."""
        return any(key == each or key.startswith(f"{each}/") for each in self.shared)

    def knows(self, key: str) -> bool:
        """Whether this process alone writes an object: others write shared folders, and leases."""
        return not self.is_shared(key) and not key.startswith(f"{self.key}/{LEASES}/")

    def lacks(self, key: str) -> bool:
        """Whether a listing says that there is no such object."""
        path = PurePosixPath(key)
        folder = self.listed.get(str(path.parent))
        return folder is not None and path.name not in folder.files

    def put(self, key: str, entry: Entry) -> None:
        """Take in an object that was put."""
        path = PurePosixPath(key)
        if (folder := self.listed.get(str(path.parent))) is not None:
            folder.files[path.name] = entry
        for below, above in zip(path.parents, list(path.parents)[1:], strict=False):
            if (folder := self.listed.get(str(above))) is not None:
                folder.folders.add(below.name)

    def deleted(self, key: str) -> None:
        """Take in that an object is gone."""
        path = PurePosixPath(key)
        if (folder := self.listed.get(str(path.parent))) is not None:
            folder.files.pop(path.name, None)
