"""`RUN/review/verdicts.jsonl`: one line an entry, only ever appended to, each on the disk before it is acknowledged.

The first line names the run. Every line ends with a hash of itself and of the line before, so that a line that was
changed, left out or put elsewhere is named. A line without its end was never acknowledged: a process was killed while
it wrote. It counts for nothing, and the next entry takes its place.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from terrasynth.errors import shortened
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import (
    InputError,
    RefusedError,
    RunError,
    StoreError,
    disk_errors,
    one_line,
    refusal,
)
from terrasynth.synthesis.core.identity import ID_LENGTH, Identity, canonical
from terrasynth.synthesis.core.storage.object_path import ObjectPath
from terrasynth.synthesis.review.entries import ENTRY, CaptionReview, Undo, Verdict, plain

FORMAT = "terrasynth review 1"
SEAL = "seal"
LIMIT_BYTES = 256 * 2**20  # a thousand times a review of ten thousand images
AnyEntry = Verdict | CaptionReview | Undo


@dataclass(frozen=True)
class _Read:
    """What a file holds.

    Attributes:
        entries: In order.
        seal: Of the last whole line.
        size: Bytes up to its end.
    """

    entries: tuple[AnyEntry, ...] = ()
    seal: str = ""
    size: int = 0


_KNOWN: dict[Path, tuple[tuple[int, ...], str, _Read]] = {}
"""What this process read or wrote last, by file, with what tells whether it is still that."""

MOST_KNOWN = 4


class ReviewFile:
    """The review of one run.

    Attributes:
        path: The file; it is made by the first entry.
        identity: Hash of the run's identity.
    """

    def __init__(self, root: Path, identity: str) -> None:
        """Name the file of a run; nothing is opened.

        Args:
            identity: Hash of its identity.
        """
        self.path = root / layout.VERDICTS
        self.identity = identity

    def read(self) -> tuple[AnyEntry, ...]:
        """All entries in order; none where there is no file.

        Raises:
            InputError: It is the review of another run.
            RunError: A line is not what was written; the message names it.
            RefusedError: It may be whole and cannot be read.
        """
        try:
            if isinstance(self.path, ObjectPath):
                return self._parsed(self.path.read_bytes()).entries
            with self._opened(os.O_RDONLY) as file:
                return self._read(file).entries
        except FileNotFoundError:
            return ()
        except StoreError as error:
            raise RefusedError(f"{self.path} cannot be read: {error}") from error

    def append(self, make: Callable[[Sequence[AnyEntry], int], AnyEntry | None]) -> AnyEntry | None:
        """Write one entry; it is on the disk when this returns.

        Args:
            make: Gets all entries and the number of the next, while nobody else may write, and gives the entry; None
                to write nothing.

        Returns:
            What it gave.

        Raises:
            InputError: It is the review of another run, or may not be written.
            RunError: The disk is full, or a line is not what was written.
        """
        with disk_errors(str(self.path)):
            fresh = not self.path.parent.is_dir()
            if fresh and self.path.parent.exists() and not self.path.parent.is_dir():  # nobody has made it meanwhile
                raise InputError(f"{str(self.path.parent)!r} is a file, where a review has its folder; remove it")
            self.path.parent.mkdir(exist_ok=True)
            with self._opened(os.O_RDWR | os.O_CREAT) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                known = self._read(file)
                entry = make(known.entries, len(known.entries) + 1)
                if entry is None:
                    return None
                self._write(file, known, entry)
            for folder in [self.path.parent, *([self.path.parent.parent] if fresh else [])]:
                _sync_folder(folder)
        return entry

    def _write(self, file: int, known: _Read, entry: AnyEntry) -> None:
        head = b""
        seal = known.seal
        if not known.size:
            head, seal = _line({"format": FORMAT, "identity": self.identity}, "")
        line, seal = _line(plain(entry), seal)
        data = memoryview(head + line)
        size = known.size + len(data)
        try:
            os.ftruncate(file, known.size)  # what a killed process left of a line
            os.lseek(file, known.size, os.SEEK_SET)
            while data:
                data = data[os.write(file, data):]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, known.size)
            raise
        self._know(_stamp(file), _Read((*known.entries, entry), seal, size))

    def _read(self, file: int) -> _Read:
        stamp = _stamp(file)
        known = _KNOWN.get(self.path)
        if known is not None and known[:2] == (stamp, self.identity):
            return known[2]
        try:
            if os.fstat(file).st_size > LIMIT_BYTES:
                raise RunError(f"{self.path} is larger than {LIMIT_BYTES // 2**20} MiB, so no review wrote it; put a "
                               "copy of the run's own back")
            with os.fdopen(os.dup(file), "rb") as opened:
                opened.seek(0)
                data = opened.read()
        except (OSError, MemoryError) as error:
            raise RefusedError(f"{self.path} cannot be read: {refusal(error) or one_line(error)}") from error
        found = self._parsed(data)
        if _stamp(file) == stamp:
            self._know(stamp, found)
        return found

    def _know(self, stamp: tuple[int, ...], found: _Read) -> None:
        _KNOWN.pop(self.path, None)
        for path in list(_KNOWN)[: max(0, len(_KNOWN) - MOST_KNOWN + 1)]:
            _KNOWN.pop(path, None)
        _KNOWN[self.path] = stamp, self.identity, found

    def _parsed(self, data: bytes) -> _Read:
        whole = data[: data.rfind(b"\n") + 1]
        entries: list[AnyEntry] = []
        seal = ""
        for number, line in enumerate(whole.split(b"\n")[:-1]):
            content, seal = self._unsealed(line, seal, number + 1)
            if number == 0:
                self._check_head(content)
                continue
            try:
                entry = ENTRY.validate_python(content)
            except ValidationError as error:
                raise self._damaged(number + 1, shortened(" ".join(error.errors()[0]["msg"].split()), 80)) from error
            self._check(entry, entries, number)
            entries.append(entry)
        return _Read(tuple(entries), seal, len(whole))

    def _unsealed(self, line: bytes, before: str, number: int) -> tuple[dict[str, Any], str]:
        try:
            content = json.loads(line)
            if not isinstance(content, dict):
                raise ValueError("it is no object")
            seal = content.pop(SEAL, None)
            if seal != _seal(content, before):
                raise ValueError("its hash is another")
        except (ValueError, RecursionError) as error:
            raise self._damaged(number, one_line(error, 80)) from error
        return content, str(seal)

    def _check_head(self, content: dict[str, Any]) -> None:
        if content.get("format") != FORMAT:
            raise InputError(f"{self.path} is no review of this version ({str(content.get('format'))[:40]!r}); move it "
                             "away, or install the version that wrote it")
        if content.get("identity") != self.identity:
            theirs = str(content.get("identity"))[:ID_LENGTH]
            raise InputError(f"{self.path} is the review of the run {theirs!r}, and this run is {self.identity!r}; "
                             "move it away, or put the run's own back")

    def _check(self, entry: AnyEntry, entries: Sequence[AnyEntry], number: int) -> None:
        if entry.number != number:
            raise self._damaged(number + 1, f"it is entry {entry.number}, not {number}")
        if isinstance(entry, Undo):
            if entry.undoes >= number or isinstance(entries[entry.undoes - 1], Undo):
                raise self._damaged(number + 1, f"it undoes entry {entry.undoes}")
        elif Identity({}, self.identity).attempt(entry.subject.label, entry.subject.k)[0] != entry.subject.row:
            raise self._damaged(number + 1, f"{entry.subject.row} is no attempt of this run")

    def _damaged(self, line: int, why: str) -> RunError:
        kept = f"`head -n {line - 1}` gives the lines before it" if line > 1 else "nothing before it is left"
        return RunError(f"{self.path}: line {line} is not what was written ({why}); put a copy of the file back, or "
                        f"move it away ({kept})")

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        """The file, as a regular one of its own: a link could name a file elsewhere."""
        if isinstance(self.path, ObjectPath):
            raise InputError(f"{str(self.path)!r} lies in object storage, where no line is added to a file; copy the "
                             "run to a folder, review it there, and copy the file back")
        if self.path.parent.is_symlink():
            raise InputError(f"{str(self.path.parent)!r} is a link, and a review lies in the run itself; remove it")
        try:
            file = os.open(self.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise InputError(f"{str(self.path)!r} is a link, and a review is a file of the run itself; remove it"
                                 ) from error
            if flags & os.O_CREAT or not refusal(error):
                raise
            raise RefusedError(f"{self.path} cannot be read: {refusal(error)}") from error
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise InputError(f"{str(self.path)!r} is no regular file, and a review is one; remove it")
            yield file
        finally:
            os.close(file)


def _line(content: dict[str, Any], before: str) -> tuple[bytes, str]:
    seal = _seal(content, before)
    return (canonical({**content, SEAL: seal}) + "\n").encode(), seal


def _seal(content: dict[str, Any], before: str) -> str:
    text = before + canonical(content)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]


def _stamp(file: int) -> tuple[int, ...]:
    found = os.fstat(file)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
