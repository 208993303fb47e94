"""Paths of objects: whoever works with `pathlib.Path` works with an object store, and never with the disk by mistake.

An object has no folder of its own: a folder is there as long as something lies below it. What takes a file of the
system's (`os.fspath`, and so `open`) is refused.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tempfile
import zlib
from collections.abc import Generator
from fnmatch import translate
from pathlib import Path, PosixPath
from typing import IO, Any, BinaryIO, NoReturn, Self, cast

from typing_extensions import override

from terrasynth.synthesis.core.errors import StoreError
from terrasynth.synthesis.core.storage.addresses import Address, address_of, is_address
from terrasynth.synthesis.core.storage.listings import LEASES as LEASES
from terrasynth.synthesis.core.storage.store import IN_MEMORY, Store, store_of

READ_AT_ONCE, MOST_AT_ONCE = 64 * 2**10, 8 * 2**20
"""Bytes of a request, which costs as much as some thousands of them; more of one that goes on where the last ended."""


def place(given: str | Path) -> Path:
    """What a user gives as a place: a path of this machine, or an address as a path of objects.

    Raises:
        InputError: It has the form of an address and is none that is known, or its package is not installed.

    Example:
        >>> from terrasynth.synthesis.core.storage.object_path import place
        >>> place("runs/demo").name
        'demo'
    """
    if isinstance(given, ObjectPath):
        return given
    if not is_address(given):
        return Path(given)
    address = address_of(given)
    store_of(address.scheme)
    return ObjectPath(str(address))


class ObjectPath(PosixPath):
    """A path of objects; see `place`. Only what runs need of `Path` is there, and all else is refused."""

    @property
    def _address(self) -> Address:
        return address_of(str(self))

    @property
    def key(self) -> str:
        """Bucket and what follows."""
        return self._address.key

    @property
    def store(self) -> Store:
        """The store in which it lies."""
        return store_of(self._address.scheme)

    @override
    def __str__(self) -> str:
        text = super().__str__()
        if not self.parts or not self.parts[0].endswith(":"):  # a part of an address, as `relative_to` gives it
            return text
        scheme, _, rest = text.partition(":/")
        return f"{scheme}://{rest.lstrip('/')}"

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @override
    def __fspath__(self) -> str:
        raise StoreError(f"{str(self)!r} lies in object storage, and this takes a file on a disk; copy it to a folder "
                         "and give that", wrong_input=True)

    @override
    def as_posix(self) -> str:
        return str(self)

    @override
    def is_absolute(self) -> bool:
        return True

    @override
    def absolute(self) -> Self:
        return self

    @override
    def resolve(self, strict: bool = False) -> Self:
        return self

    @override
    def expanduser(self) -> Self:
        return self

    # What is there.

    @override
    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return self.is_file() or self.is_dir()

    @override
    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self.store.is_file(self.key)

    @override
    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.store.is_folder(self.key)

    @override
    def is_symlink(self) -> bool:
        return False

    @override
    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size and time of the object; inode and change time are numbers made of its tag, as its content decides it."""
        entry = self.store.listed(self.key)
        if entry is None:
            raise FileNotFoundError(2, os.strerror(2), str(self))
        return stat_of(entry.size, entry.tag, entry.modified)

    @override
    def iterdir(self) -> Generator[Self, None, None]:
        folder = self.store.folder(self.key)
        if not folder.files and not folder.folders:
            raise FileNotFoundError(2, os.strerror(2), str(self))
        yield from (self / name for name in sorted([*folder.files, *folder.folders]))

    @override
    def glob(self, pattern: str, **_: Any) -> Generator[Self, None, None]:
        first, _slash, rest = str(pattern).partition("/")
        fits = re.compile(translate(first)).match
        folder = self.store.folder(self.key)
        if rest:
            for name in sorted(filter(fits, [*folder.folders])):
                yield from (self / name).glob(rest)
        else:
            yield from (self / name for name in sorted(filter(fits, [*folder.files, *folder.folders])))

    @override
    def rglob(self, pattern: str, **_: Any) -> Generator[Self, None, None]:
        """Objects at any depth whose name fits; folders, which are none, are left out, and leases."""
        fits = re.compile(translate(str(pattern))).match
        yield from (self / name for name, _entry in self.store.below(self.key)
                    if fits(name.rpartition("/")[2]) and LEASES not in name.split("/"))

    def walk(self, *_: object, **__: object) -> NoReturn:  # type: ignore[override,unused-ignore]
        """Refused: what `Path` has since Python 3.12 passes errors over, and would find nothing here."""
        os.fspath(self)
        raise AssertionError("os.fspath raises")

    # What it holds.

    @override
    def open(self, mode: str = "r", buffering: int = -1, encoding: str | None = None,  # type: ignore[override]
             errors: str | None = None, newline: str | None = None) -> IO[Any]:
        """Open for reading, or for writing bytes, which are put whole when the file is closed without an error."""
        if mode in ("wb", "xb"):
            return _Writer(self)
        if mode not in ("r", "rt", "rb"):
            raise StoreError(f"{str(self)!r} lies in object storage, where no file is opened with mode {mode!r}",
                             wrong_input=True)
        binary = io.BufferedReader(RangeReader(self), READ_AT_ONCE)
        return binary if mode == "rb" else io.TextIOWrapper(binary, encoding or "utf-8", errors, newline)

    @override
    def read_bytes(self) -> bytes:
        return self.store.read(self.key)

    @override
    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding or "utf-8", errors, newline).read()

    @override
    def write_bytes(self, data: Any) -> int:
        self.store.put(self.key, io.BytesIO(data), len(data))
        return len(data)

    @override
    def write_text(self, data: str, encoding: str | None = None, errors: str | None = None,
                   newline: str | None = None) -> int:
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    @override
    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok and not self.is_file():
            raise FileNotFoundError(2, os.strerror(2), str(self))
        self.store.delete([self.key])

    @override
    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder is there as soon as something lies in it."""

    @override
    def rmdir(self) -> None:
        """Nothing: a folder is gone as soon as nothing lies in it."""


class RangeReader(io.RawIOBase):
    """An object, read in ranges: what is not at hand is one request, of `READ_AT_ONCE` bytes at least."""

    def __init__(self, path: ObjectPath) -> None:
        """Open an object.

        Raises:
            FileNotFoundError: It is not there.
        """
        super().__init__()
        self._store, self._key, self.name = path.store, path.key, str(path)
        size = self._store.known_size(self._key)
        if size is None:
            size = path.stat().st_size
        self._size, self._at, self._start, self._kept = size, 0, 0, b""
        self._more = READ_AT_ONCE

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._at

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    @override
    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        start = self._at
        if end <= start:
            return b""
        if not self._start <= start <= end <= self._start + len(self._kept):
            goes_on = self._kept and self._start <= start <= self._start + len(self._kept)
            self._more = min(MOST_AT_ONCE, 4 * self._more) if goes_on else READ_AT_ONCE
            # A footer lies at the end: what is read from there begins earlier.
            self._start = max(0, min(start, self._size - self._more))
            self._kept = self._store.read(self._key, self._start, max(end, self._start + self._more))
            if len(self._kept) < end - self._start:
                raise OSError(f"{self.name} is shorter than it was: it was written anew while it was read")
        self._at = end
        return self._kept[start - self._start:end - self._start]

    @override
    def readall(self) -> bytes:
        return self.read(-1)

    @override
    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[:len(found)] = found
        return len(found)


class _Writer(io.BytesIO):
    """A small object that is being written."""

    def __init__(self, path: ObjectPath) -> None:
        super().__init__()
        self._path: ObjectPath | None = path

    @override
    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._path = None
        self.close()

    @override
    def close(self) -> None:
        if not self.closed and self._path is not None:
            self._path.write_bytes(self.getvalue())
        super().close()


class Buffer:
    """What is written before it is put: in memory, or on this machine's disk where it is large."""

    def __init__(self) -> None:
        self.file = cast("BinaryIO", tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - `close` ends it

    @property
    def size(self) -> int:
        """Bytes written."""
        return self.file.seek(0, io.SEEK_END)

    def close(self) -> None:
        """Forget it."""
        self.file.close()


def stat_of(size: int, tag: str, modified: float) -> os.stat_result:
    """An object's size, tag and time in the form of a file's."""
    number = zlib.crc32(tag.encode()) << 31 | zlib.adler32(tag.encode()) & 0x7FFFFFFF
    nanoseconds = int(modified * 1e9)
    return os.stat_result((stat.S_IFREG | 0o644, number, 0, 1, 0, 0, size, int(modified), int(modified), number),
                          {"st_mtime_ns": nanoseconds, "st_ctime_ns": number})
