"""Files that are either whole or absent: written beside their place, flushed to the disk, then moved into it.

No link is followed on the way: a file is opened as new, or as the regular file that it has to be. In object storage
(`ObjectPath`) a file is put by one request, which is as whole, and a run is held by a lease.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RunError, disk_errors
from terrasynth.synthesis.core.storage.lease import LeasedError, leased, listed, unleased
from terrasynth.synthesis.core.storage.object_path import LEASES, MOST_AT_ONCE, Buffer, ObjectPath, RangeReader, stat_of

TEMPORARY, LOCK, PARTS_LOCK = ".tmp", ".lock", ".parts"
UNCOMPARED = 2**16  # bytes up to which an object is put without asking whether it is there already


class InUseError(InputError):
    """Another process holds a run directory; it lets go of it by itself."""


@contextmanager
def replacing(path: Path, writer: str = "", once: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well, and vanishes when it does not.

    Args:
        writer: Part of the name until then, where several processes may write the same file at once.
        once: Nothing lies there, which an object store is asked to check.

    Raises:
        RunError: The disk is full, or something lies there although it is `once`.
        InputError: The folder cannot be written to.
    """
    if isinstance(path, ObjectPath):
        with disk_errors(str(path)), closing(Buffer()) as buffer:
            yield buffer.file
            _put(path, buffer, once)
        return
    temporary = path.with_name(path.name + writer + TEMPORARY)
    with disk_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_new(temporary) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if path.is_file() and not path.is_symlink() and _same_bytes(temporary, path):
                temporary.unlink()
                return
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def open_new(path: Path) -> BinaryIO:
    """Open a file for writing that was not there; what lies in its place, a link too, goes first.

    Raises:
        OSError: A folder is in its place, or it cannot be made.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "wb")


def write_file(path: Path, data: bytes | str) -> None:
    """Write a whole small file; see `replacing`."""
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def move(source: Path, target: Path) -> None:
    """Move a whole file to another place on the same disk; what lies there is replaced.

    Raises:
        RunError: The disk is full.
        InputError: The folder cannot be written to.
    """
    with disk_errors(str(target)):
        if isinstance(source, ObjectPath) and isinstance(target, ObjectPath):
            target.store.copy(source.key, target.key)
            source.store.delete([source.key])
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        _sync_folder(target.parent)


def remove_empty_folders(folder: Path) -> None:
    """Remove a folder with the folders in it, unless there is a file; one that holds a file stays."""
    if isinstance(folder, ObjectPath):  # where a folder is what lies in it
        return
    for each in sorted([folder, *folder.rglob("*")], reverse=True):
        if each.is_dir() and not each.is_symlink():
            with suppress(OSError):
                each.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was still writing.

    An object is never half there. Of one that was moved, which takes a copy, what was not yet taken away goes.
    """
    if isinstance(folder, ObjectPath):
        ahead, store = layout.ahead(folder).relative_to(folder), folder.store
        for name in [name for name, _ in store.below((folder / ahead).key)]:
            if (folder / name).is_file():
                store.delete([(folder / ahead / name).key])
        return
    for top, folders, files in os.walk(folder):  # which makes no path of each file
        for name in (*folders, *files):
            if name.endswith(TEMPORARY):
                leftover = Path(top, name)
                if leftover.is_symlink() or not leftover.is_dir():
                    leftover.unlink()


@contextmanager
def locked(run: Path, alone: bool = True) -> Iterator[None]:
    """Hold a run directory for this process; the system lets go of it when the process ends, however it ends.

    In object storage a lease does, which runs out (`core/storage/lease.py`).

    Args:
        alone: No workers write there meanwhile.

    Raises:
        InUseError: Another process holds it.
        InputError: It cannot be made.
        RunError: A lease was lost meanwhile.
    """
    if isinstance(run, ObjectPath):
        with disk_errors(str(run)), _said_in_use(), leased(run, () if alone else layout.SHARED):
            yield
        return
    with disk_errors(str(run)), _lock_file(run) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(
                f"{str(run)!r} is in use by another process; wait for it to end or choose another --out"
            ) from error
        yield


@contextmanager
def sharing(run: Path) -> Iterator[None]:
    """Hold a run directory together with others that do the same, and keep out who holds it alone (`locked`).

    Raises:
        InUseError: A process holds it alone.
        InputError: It cannot be made, or lies in object storage, where a lease is for one process.
    """
    if isinstance(run, ObjectPath):
        raise InputError(f"{str(run)!r} lies in object storage, which several processes cannot hold together; make the "
                         "parts in a folder that all of them see, or give runtime.executor ray, whose workers write "
                         "there")
    with disk_errors(str(run)), _lock_file(run) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(f"{str(run)!r} is in use by its run, which makes what is missing itself; wait for it to "
                             "end") from error
        yield


@contextmanager
def preparing(run: Path) -> Iterator[None]:
    """Write what all need that share a run directory, one after the other; waits for the one before.

    Raises:
        InputError: Its lock cannot be made.
    """
    with disk_errors(str(run)), _open_lock(run, os.O_RDWR | os.O_CREAT, PARTS_LOCK) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def reading(run: Path) -> Iterator[None]:
    """Keep writers off a run directory while it is read; several may read at once, and none needs write access.

    Raises:
        InUseError: A process is writing there.
    """
    if isinstance(run, ObjectPath):
        with disk_errors(str(run)), _said_in_use(), unleased(run):
            yield
        return
    try:
        lock = _open_lock(run, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        yield
        return
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(f"{str(run)!r} is in use by another process; wait for it to end") from error
        yield


@contextmanager
def looking(run: Path) -> Iterator[None]:
    """Look at a run directory that others may write meanwhile, each folder of objects as it was when first listed."""
    if not isinstance(run, ObjectPath):
        yield
        return
    with listed(run):
        yield


def check_writable(run: Path) -> None:
    """Check that `run` can be made or is ours to continue, without leaving a trace when it is not.

    Raises:
        InputError: It is a file, it holds something that is no run, or it cannot be written to.
    """
    if isinstance(run, ObjectPath):
        with disk_errors(str(run)):
            run.store.check_bucket(run.key)
    if run.exists() and not run.is_dir():
        raise InputError(f"{str(run)!r} is a file; choose a folder for the run")
    if run.is_dir() and not (run / layout.RECIPE).is_file() and _holds_something(run):
        raise InputError(f"{str(run)!r} holds files and no {layout.RECIPE}, so it is no run; choose an empty folder")
    if isinstance(run, ObjectPath):
        return
    existing = _existing(run)
    with disk_errors(str(run)):
        try:
            # Asking by writing is the only question that a read-only disk and a pseudo file system answer truly.
            with tempfile.TemporaryFile(dir=existing):
                pass
        except (PermissionError, NotADirectoryError, FileNotFoundError) as error:
            raise InputError(
                f"cannot write {str(run)!r}: no write access to {str(existing)!r}; choose another folder"
            ) from error


def free_bytes(place: Path) -> int | None:
    """Bytes free for this user on the disk that holds, or would hold, `place`; None where there is no end of them."""
    if isinstance(place, ObjectPath):
        return None
    return shutil.disk_usage(_existing(place)).free


def _lock_file(run: Path) -> BinaryIO:
    try:
        run.mkdir(parents=True, exist_ok=True)
        return _open_lock(run, os.O_RDWR | os.O_CREAT)
    except FileNotFoundError as error:
        raise InputError(f"cannot make {str(run)!r}: {error.strerror}; choose another folder") from error


def _open_lock(run: Path, flags: int, name: str = LOCK) -> BinaryIO:
    """A lock of a run, as a regular file of its own: a link would lock, and could make, a file elsewhere."""
    path = run / name
    try:
        # O_NONBLOCK: opening a pipe would wait for its other end
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{str(path)!r} is a link, and a run is locked by a file of its own; remove it") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{str(path)!r} is no regular file, and a run is locked by one; remove it")
    return os.fdopen(handle, "rb")


def _holds_something(run: Path) -> bool:
    # A process that was killed before it had written its recipe leaves these behind.
    known = (LOCK, PARTS_LOCK, LEASES)
    return any(entry.name not in known and entry.suffix != TEMPORARY for entry in run.iterdir())


def _existing(place: Path) -> Path:
    candidate = place.absolute()
    while not candidate.exists():
        candidate = candidate.parent
    return candidate


def _same_bytes(left: Path, right: Path) -> bool:
    if left.stat().st_size != right.stat().st_size:
        return False
    with left.open("rb") as one, right.open("rb") as other:
        while chunk := one.read(1 << 20):
            if chunk != other.read(1 << 20):
                return False
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def readable(path: Path) -> Path | RangeReader:
    """What libraries read a file from that take a path or an open file: of an object, they ask for ranges.

    Raises:
        FileNotFoundError: The object is not there.
    """
    return RangeReader(path) if isinstance(path, ObjectPath) else path


def local_folder(folder: Path) -> Path | None:
    """A folder for files without a name, as `tempfile` takes it: the system's own beside objects."""
    return None if isinstance(folder, ObjectPath) else folder


def stats_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files below a folder, at any depth, each with its size and times; of objects by listing them."""
    if isinstance(folder, ObjectPath):
        for name, entry in folder.store.below(folder.key):
            yield folder / name, stat_of(*entry)
        return
    folders = [folder]
    while folders:
        each = folders.pop()
        if not each.is_dir():
            continue
        with os.scandir(each) as there:
            for found in there:
                if found.is_dir():
                    folders.append(Path(found.path))
                else:
                    yield Path(found.path), Path(found.path).stat()


def _put(path: ObjectPath, buffer: Buffer, once: bool) -> None:
    size = buffer.size
    if once:
        if not path.store.create(path.key, buffer.file, size):
            raise RunError(f"{path} was written by another process meanwhile; run the same command again")
    elif size <= UNCOMPARED or not path.store.has_content(path.key, buffer.file, size):
        path.store.put(path.key, buffer.file, size)


@contextmanager
def _said_in_use() -> Iterator[None]:
    try:
        yield
    except LeasedError as error:
        raise InUseError(str(error)) from error


def renew_time(path: Path) -> None:
    """Set a file's times to now: an equal one stays where it is, and its time tells what was written after it.

    Of an object, its tag tells that.
    """
    if not isinstance(path, ObjectPath):
        os.utime(path)


def sha256(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal digits."""
    if isinstance(path, ObjectPath):
        found, reader = hashlib.sha256(), RangeReader(path)
        while part := reader.read(MOST_AT_ONCE):
            found.update(part)
        return found.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
