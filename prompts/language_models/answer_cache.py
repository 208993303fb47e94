"""Answers of language models on the disk: one JSON file a request, whole or not there, and never written twice."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from terrasynth.errors import one_line
from terrasynth.prompts.errors import InputError

LOCKS = 256


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/terrasynth/answers`, where that is not set under `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "terrasynth" / "answers"


class AnswerCache:
    """A folder of answers, each under the hash of what was asked.

    Processes may share a folder: a file appears whole (`.tmp`, fsync, `os.replace`), and `locked` lets one process at a
    time ask for the same thing.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        """Make the folder and check that it can be written to.

        Args:
            folder: Where the files lie; made if need be.
            kind: First part of the file names, so that several kinds of answers can share a folder.

        Raises:
            InputError: The folder cannot be made or written to.
        """
        self.folder = folder
        self._kind = kind
        try:
            (folder / "locks").mkdir(parents=True, exist_ok=True)
            with (folder / "locks" / "budget").open("a"):
                pass
        except OSError as error:
            raise InputError(
                f"cache {str(folder)!r} cannot be written ({error.strerror}); set the option cache to another folder"
            ) from error

    def path(self, request: Mapping[str, object], suffix: str = ".json") -> Path:
        """The file of a request: everything that decides the answer, as JSON-able values."""
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]
        return self.folder / f"{self._kind}-{digest}{suffix}"

    def read(self, request: Mapping[str, object]) -> dict[str, Any] | None:
        """The record of a request, or None where it was not asked yet.

        Raises:
            InputError: The file is damaged: asking again would cost again, so that is the user's to decide.
        """
        path = self.path(request)
        record = read_record(path)
        if record is not None and record.get("request") != json.loads(json.dumps(request)):
            raise _damaged(path, "it holds another request")
        return record

    def write(self, request: Mapping[str, object], record: Mapping[str, object]) -> None:
        """Store what came of a request; on return it is on the disk."""
        write_record(self.path(request), {"request": request, **record})

    def records(self) -> Iterator[Path]:
        """The files of answers of this kind."""
        return self.folder.glob(f"{self._kind}-" + "[0-9a-f]" * 32 + ".json")

    @contextmanager
    def locked(self, request: Mapping[str, object]) -> Iterator[None]:
        """Hold a request for this process; another one that wants it waits. The system lets go when a process ends."""
        stripe = int(self.path(request, "").name[-8:], 16) % LOCKS
        with self.lock(f"{stripe:02x}"):
            yield

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of the folder by name."""
        with (self.folder / "locks" / name).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def read_record(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is no file.

    Raises:
        InputError: The file cannot be read or is no JSON object.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, one_line(error, 80)) from error
    if not isinstance(record, dict):
        raise _damaged(path, "it holds no JSON object")
    return record


def write_record(path: Path, record: Mapping[str, object]) -> None:
    """Write a JSON file, whole or not at all, and wait for the disk.

    Raises:
        InputError: The disk is full or the folder is gone.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cache file {str(path)!r} cannot be written ({error.strerror}); free some space") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _damaged(path: Path, problem: str) -> InputError:
    return InputError(f"cache file {str(path)!r} is damaged ({problem}); restore it, or delete it to ask for it again")
