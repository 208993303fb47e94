"""One object store: the few requests that runs need, tried again while it is busy, and errors on one line.

What is put is whole or absent, by one request. All tries are made here, since only here is it known which of them may
be made twice: drivers are told to make one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, BinaryIO, TypeVar

from terrasynth.errors import not_installed
from terrasynth.synthesis.core.errors import InputError, RunError, StoreError, one_line
from terrasynth.synthesis.core.storage.addresses import SCHEMES
from terrasynth.synthesis.core.storage.listings import Entry, Folder, Held

TRIES, FIRST_WAIT, LONGEST_WAIT = 11, 0.1, 8.0
"""Requests before a store counts as down, and the seconds between them: doubled each time, 30 s in all at most."""
HASHED_AT_ONCE = 2**20
IN_MEMORY = 64 * 2**20  # bytes up to which what is put is one request from memory; above, the driver reads a file
_PROTOCOLS = {"gs": "gcs", "az": "abfs"}  # what fsspec calls them, where that is another name
_OPTIONS: Mapping[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 30}},
}
_TAGS = ("ETag", "etag", "generation", "content_settings", "blob_id", "oid")
_TIMES = ("LastModified", "last_modified", "updated", "mtime")
_NO_BUCKET = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound", "Repository Not Found")
_NO_CREDENTIALS = ("NoCredentials", "PartialCredentials", "DefaultCredentials", "locate credentials",
                   "account_name", "connection_string")
_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "Forbidden", "ExpiredToken", "Unauthorized")
_LASTING = (FileNotFoundError, FileExistsError, PermissionError, NotImplementedError, TypeError, ValueError)
_COMPARES = ("s3",)  # schemes whose driver hands a condition of a put to the store
_NOTHING: Mapping[str, str] = MappingProxyType({})
_INVALID = (errno.EINVAL, errno.ENAMETOOLONG, errno.ENOSYS)
_Answer = TypeVar("_Answer")


class Store:
    """The objects of one scheme, by key: bucket and what follows."""

    def __init__(self, scheme: str) -> None:
        """Make the driver.

        Raises:
            InputError: Its package is not installed.
        """
        self.scheme, self._kind, self._process = scheme, SCHEMES[scheme], os.getpid()
        self._held: list[Held] = []
        self._driver = self._made()

    def _made(self) -> Any:  # noqa: ANN401 - a file system of fsspec, which has no types
        if find_spec(self._kind.package) is None:
            raise InputError(not_installed(f"an address {self.scheme}://", self._kind.package, self._kind.extra))
        import fsspec

        made = fsspec.filesystem(_PROTOCOLS.get(self.scheme, self.scheme), use_listings_cache=False,
                                 skip_instance_cache=True, **_OPTIONS.get(self.scheme, {}))
        made.retries = 1
        return made

    def address(self, key: str) -> str:
        """A key as the user knows it."""
        return f"{self.scheme}://{key}"

    # What is asked.

    def entry(self, key: str) -> Entry | None:
        """An object's size, tag and time; None where there is none."""
        try:
            found = self._try(key, lambda: self._driver.info(key))
        except FileNotFoundError:
            return None
        return _entry(found) if found["type"] == "file" else None

    def is_file(self, key: str) -> bool:
        """Whether there is an object; in a folder that is held, by its listing."""
        held = self._holding(key)
        if held is None or held.is_shared(key):
            return self.entry(key) is not None
        path = PurePosixPath(key)
        return path.name in self.folder(str(path.parent)).files

    def listed(self, key: str) -> Entry | None:
        """An object as a listing of a held folder has it, or else as the store says; None where there is none."""
        held, path = self._holding(key), PurePosixPath(key)
        folder = held.listed.get(str(path.parent)) if held is not None else None
        entry = folder.files.get(path.name) if folder is not None else None
        return entry if entry is not None and entry.tag else self.entry(key)

    def known_size(self, key: str) -> int | None:
        """Bytes of an object where a listing of a held folder has it; None where they would have to be asked for."""
        held, path = self._holding(key), PurePosixPath(key)
        folder = held.listed.get(str(path.parent)) if held is not None else None
        entry = folder.files.get(path.name) if folder is not None else None
        return entry.size if entry is not None else None

    def is_folder(self, key: str) -> bool:
        """Whether there is an object below a key."""
        held = self._holding(key)
        if held is not None and not held.is_shared(key):
            path = PurePosixPath(key)
            return path.name in self.folder(str(path.parent)).folders
        try:
            return bool(self._try(key, lambda: self._driver.info(key))["type"] == "directory")
        except FileNotFoundError:
            return False

    def folder(self, key: str) -> Folder:
        """What lies directly below a key: one request for each thousand."""
        held = self._holding(f"{key}/")
        if held is not None and key in held.listed:
            return held.listed[key]
        found = Folder()
        try:
            for each in self._try(key, lambda: self._driver.ls(key, detail=True)):
                name = PurePosixPath(each["name"]).name
                if each["type"] == "directory":
                    found.folders.add(name)
                elif each["name"].rstrip("/") != key:  # as some tools make an object of a folder's name
                    found.files[name] = _entry(each)
        except FileNotFoundError:
            pass
        if held is not None and not held.is_shared(key):
            held.listed[key] = found
        return found

    def below(self, key: str) -> Iterator[tuple[str, Entry]]:
        """All objects below a key, at any depth, by name within it: one request for each thousand."""
        try:
            found = self._try(key, lambda: self._driver.find(key, detail=True))
        except FileNotFoundError:
            return
        for name in sorted(found):
            if name.startswith(f"{key}/") and not name.endswith("/"):
                yield name[len(key) + 1:], _entry(found[name])

    def check_writes(self, key: str) -> None:
        """Check that the store is one that can be written to.

        Raises:
            InputError: It is not.
        """
        if not self._kind.writes:
            raise InputError(f"{self.address(key)!r} cannot be written to: on the Hub each file would be a commit; "
                             "write to a folder or a bucket, and publish with `terrasynth push`")

    def check_bucket(self, key: str) -> None:
        """Ask the store anything, so that what is wrong with bucket or credentials is said before there is work.

        Raises:
            StoreError: Something is.
            InputError: Nothing can be written there.
        """
        self.check_writes(key)
        try:
            self._try(key, lambda: self._driver.ls(key, detail=True))
        except FileNotFoundError:
            return

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes of an object; a range may reach beyond its end.

        Raises:
            FileNotFoundError: It is not there.
        """
        if end is not None and end <= start:
            return b""
        try:
            if start == 0 and end is None:
                return bytes(self._try(key, lambda: self._driver.cat_file(key)))
            return bytes(self._try(key, lambda: self._driver.cat_file(key, start=start, end=end)))
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.address(key)) from error

    # What is changed.

    def put(self, key: str, file: BinaryIO, size: int) -> None:
        """Put an object, whole, in the place of what lies there.

        Args:
            file: What it is to hold, from its beginning; above `IN_MEMORY` one that has a handle of the system.
            size: Its bytes.

        Raises:
            RunError: The folder is held, and another process wrote the object since.
        """
        before = self._fence(key) if size <= IN_MEMORY else {}
        try:
            self._try(key, lambda: self._send(key, file, size, "overwrite", before), writes=key)
        except (FileExistsError, FileNotFoundError) as error:
            file.seek(0)
            if not self._holds(key, file, size):  # by a try before, whose answer was lost
                raise RunError(f"{self.address(key)} was written by another process meanwhile; run the same command "
                               "again") from error
        self._note(key, size)

    def create(self, key: str, file: BinaryIO, size: int) -> bool:
        """Put an object where there is none, which the store checks.

        Returns:
            Whether it holds this now: by this request, or by one before whose answer was lost.
        """
        try:
            self._try(key, lambda: self._send(key, file, size, "create"), writes=key)
        except FileExistsError:
            file.seek(0)
            if not self._holds(key, file, size):
                return False
        self._note(key, size)
        return True

    def has_content(self, key: str, file: BinaryIO, size: int) -> bool:
        """Whether an object's size and tag say that it holds just this; False where they do not say."""
        found = self.listed(key) if self.is_file(key) else None
        if found is None or found.size != size:
            return False
        return found.tag == hash_of(file, hashlib.md5(usedforsecurity=False))

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store.

        Raises:
            FileNotFoundError: It is not there.
        """
        self._try(source, lambda: self._driver.cp_file(source, target), writes=target)
        found = self.entry(target)
        self._note(target, found.size if found is not None else 0)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is not there is no error."""
        for key in keys:
            with suppress(FileNotFoundError):
                self._try(key, partial(self._driver.rm_file, key), writes=key)
            if (held := self._holding(key)) is not None:
                held.deleted(key)

    # What is held.

    def hold(self, held: Held) -> None:
        """Believe listings of a folder from now on."""
        self._held.append(held)

    def let_go(self, held: Held) -> None:
        """Ask again from now on."""
        self._held.remove(held)

    def _holding(self, key: str) -> Held | None:
        return next((each for each in self._held if each.covers(key)), None)

    def _check_holds(self, key: str) -> None:
        self.check_writes(key)
        if (held := self._holding(key)) is not None:
            held.check()

    def _fence(self, key: str) -> Mapping[str, str]:
        """What the store is to compare before it puts an object of a held folder: that it is still what it was.

        A holder may stand still for longer than its lease holds, after it looked at the clock and before its put. What
        another wrote meanwhile is then not written over; and where that one was still to write it, it is told.
        """
        held = self._holding(key)
        if self.scheme not in _COMPARES or held is None or not held.knows(key):
            return {}
        entry = None if held.lacks(key) else self.listed(key)
        if entry is None:
            return {"IfNoneMatch": "*"}
        return {"IfMatch": entry.tag} if entry.tag else {}

    def _note(self, key: str, size: int) -> None:
        if (held := self._holding(key)) is not None:
            held.put(key, Entry(size, "", 0))

    def _send(self, key: str, file: BinaryIO, size: int, mode: str, before: Mapping[str, str] = _NOTHING) -> None:
        file.seek(0)
        if size <= IN_MEMORY:
            self._driver.pipe_file(key, file.read(), mode=mode, **before)
        else:
            self._driver.put_file(f"/dev/fd/{file.fileno()}", key, mode=mode)

    def _holds(self, key: str, file: BinaryIO, size: int) -> bool:
        found = self.entry(key)
        if found is None or found.size != size:
            return False
        step = IN_MEMORY
        return all(file.read(step) == self.read(key, start, min(size, start + step))
                   for start in range(0, size, step))

    def _try(self, key: str, request: Callable[[], _Answer], writes: str = "") -> _Answer:
        """Make a request until it is answered.

        Args:
            writes: The key that it changes: tries go on for half a minute, and before each it has to be held still.

        Raises:
            RunError: It is not.
            FileNotFoundError: The object is not there.
            FileExistsError: It is, and should not.
            StoreError: There is no such bucket, there are no credentials, or they do not do, or nothing helped.
        """
        if self._process != os.getpid():  # a fork has no thread of the driver's
            self._driver, self._process = self._made(), os.getpid()
        for left in reversed(range(TRIES)):
            if writes:
                self._check_holds(writes)
            try:
                return request()
            except Exception as error:
                if (said := self._said(key, error)) is not None:
                    raise said from error
                if _is_conflict(error):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.address(key)) from error
                if isinstance(error, _LASTING):
                    raise
                if getattr(error, "errno", None) in _INVALID and "Incomplete" not in str(error):
                    raise StoreError(f"{self.address(key)} cannot be asked for: {one_line(error, 160)}; correct the "
                                     "address", wrong_input=True) from error
                if not left:
                    raise StoreError(f"{self.address(key)} did not answer in {TRIES} tries "
                                     f"({one_line(error, 160)}); run the same command again") from error
            time.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2 ** (TRIES - 1 - left)) * random.uniform(0.5, 1))
        raise AssertionError("a last try returns or raises")

    def _said(self, key: str, error: Exception) -> StoreError | None:
        """What a user has to hear of an error that no further try mends; None for others."""
        chain: list[BaseException] = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
            chain.append(cause)
        text = " ".join(f"{type(each).__name__} {each}" for each in chain)
        bucket, kind = key.partition("/")[0], self._kind
        if any(each in text for each in _NO_BUCKET):
            return StoreError(f"{self.address(key)}: there is no {kind.container} {bucket!r}; make it, or correct the "
                              "address", wrong_input=True)
        if any(each in text for each in _NO_CREDENTIALS):
            return StoreError(f"{self.address(key)}: no credentials are found ({one_line(error, 120)}); set "
                              f"{kind.credentials}", wrong_input=True)
        if isinstance(error, PermissionError) or any(each in text for each in _REFUSED):
            return StoreError(f"{self.address(key)}: access is refused ({one_line(error, 120)}); correct the rights, "
                              f"or {kind.credentials}", wrong_input=True)
        return None


def hash_of(file: BinaryIO, of: hashlib._Hash) -> str:
    """The hash of an open file from its beginning, in hexadecimal digits.

    Args:
        of: Of nothing yet; what `hashlib` gives.
    """
    file.seek(0)
    while part := file.read(HASHED_AT_ONCE):
        of.update(part)
    return of.hexdigest()


def _is_conflict(error: Exception) -> bool:
    code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code", "")  # of boto, below s3fs
    return isinstance(error, FileExistsError) or "412" in (str(getattr(error, "code", "")), code) or (
        code == "PreconditionFailed")


def _entry(found: Mapping[str, Any]) -> Entry:
    tag = next((str(found[name]) for name in _TAGS if found.get(name)), "").strip('"')
    when = next((found[name] for name in _TIMES if found.get(name)), 0.0)
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    return Entry(int(found["size"] or 0), tag, when.timestamp() if isinstance(when, datetime) else float(when))


STORES: dict[str, Store] = {}


def store_of(scheme: str) -> Store:
    """The store of a scheme, one for all of the process.

    Raises:
        InputError: The package that speaks it is not installed.
    """
    if scheme not in STORES:
        STORES[scheme] = Store(scheme)
    return STORES[scheme]
