"""The files of an export: written whole, left alone where they are right already, and told from anybody else's."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from terrasynth.synthesis.core.errors import disk_errors
from terrasynth.synthesis.core.files import TEMPORARY, open_new, replacing, sha256
from terrasynth.synthesis.core.storage.object_path import ObjectPath
from terrasynth.synthesis.core.storage.store import hash_of
from terrasynth.synthesis.export.rows import as_json

README = "README.md"


class Output:
    """A folder that an export writes to.

    An existing file is compared, never trusted: whatever an interrupted export left, the same command ends with the
    same bytes.
    """

    def __init__(self, folder: Path, own: Sequence[str]) -> None:
        """Prepare a folder: what a killed export was still writing goes.

        Args:
            own: Regular expressions of the names, with slashes, that the export may write and remove.

        Raises:
            InputError: The folder cannot be written to.
        """
        self.folder = folder
        self._own = re.compile("|".join(f"(?:{pattern})" for pattern in own))
        self._written: dict[str, str] = {}
        with disk_errors(str(folder)):
            for leftover in self._present(TEMPORARY):
                (folder / (leftover + TEMPORARY)).unlink()

    @contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """A file that is there when the block ends well.

        Raises:
            RunError: The disk is full.
            InputError: The folder cannot be written to.
        """
        self._check(name)
        hashed = ""
        with replacing(self.folder / name) as file:
            yield file
            if isinstance(self.folder, ObjectPath):  # from where it would have to be fetched
                hashed = hash_of(file, hashlib.sha256())
        self._written[name] = hashed or sha256(self.folder / name)

    def picture(self, name: str, data: bytes) -> None:
        """Write a small file of many: moved into place whole, but flushed to the disk with all others by `finish`.

        Raises:
            RunError: The disk is full.
            InputError: The folder cannot be written to.
        """
        self._check(name)
        self._written[name] = hashlib.sha256(data).hexdigest()
        path = self.folder / name
        with disk_errors(str(path)):
            if isinstance(path, ObjectPath):
                content = io.BytesIO(data)
                if not path.store.has_content(path.key, content, len(data)):
                    path.store.put(path.key, content, len(data))
                return
            if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(path.name + TEMPORARY)
            with open_new(temporary) as file:
                file.write(data)
            os.replace(temporary, path)

    def finish(self) -> dict[str, int]:
        """Remove own files that were not written this time, and flush everything to the disk.

        Returns:
            See `extent`.

        Raises:
            RunError: The disk is full.
            InputError: The folder cannot be written to.
        """
        with disk_errors(str(self.folder)):
            for name in self._present():
                if name not in self._written:
                    (self.folder / name).unlink()
            if not isinstance(self.folder, ObjectPath):
                os.sync()
        return self.extent()

    def size_of(self, pattern: str) -> int:
        """Bytes of the files that were written under names that match, where `*` stands for anything."""
        sizes = self._sizes()
        return sum(sizes[name] for name in self._written if fnmatchcase(name, pattern))

    def hashes_of(self, pattern: str = "*") -> dict[str, str]:
        """SHA-256 of the files that were written under names that match, by name; see `size_of`."""
        return {name: hashed for name, hashed in sorted(self._written.items()) if fnmatchcase(name, pattern)}

    def hashes_there(self) -> dict[str, str]:
        """SHA-256 of all files of the export that are there, by name; reads them."""
        return {name: sha256(self.folder / name) for name in self._present()}

    def extent(self) -> dict[str, int]:
        """How many `files` of the export there are, their `bytes`, and of these those of the `card`."""
        sizes = self._sizes()
        return {"files": len(sizes), "bytes": sum(sizes.values()), "card": sizes.get(README, 0)}

    def _check(self, name: str) -> None:
        if not self._own.fullmatch(name):
            raise ValueError(f"{name!r} is none of the names that this export declares as its own")

    def _sizes(self) -> dict[str, int]:
        """Bytes of the own files that are there."""
        if isinstance(self.folder, ObjectPath):
            return {name: entry.size for name, entry in self.folder.store.below(self.folder.key)
                    if self._own.fullmatch(name)}
        return {name: (self.folder / name).stat().st_size for name in self._present()}

    def _present(self, ending: str = "") -> Iterator[str]:
        """Names of own files that are there; those with `ending` behind them, without it."""
        if isinstance(self.folder, ObjectPath):
            yield from () if ending else self._sizes()
            return
        for place, _, names in os.walk(self.folder):
            inside = Path(place).relative_to(self.folder).as_posix()
            for name in names:
                full = name if inside == "." else f"{inside}/{name}"
                if full.endswith(ending) and self._own.fullmatch(full.removesuffix(ending)):
                    yield full.removesuffix(ending)


class JsonList:
    """A JSON array that is written element by element, one on each line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._first = True
        file.write(b"[")

    def add(self, value: object) -> None:
        """Append an element."""
        self._file.write(b"\n" if self._first else b",\n")
        self._file.write(as_json(value).encode())
        self._first = False

    def close(self) -> None:
        """End the array; the file stays open."""
        self._file.write(b"\n]")
