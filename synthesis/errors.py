"""What can go wrong in synthesis, sorted by who has to act: the user's input, or the run itself."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prompts.addresses import shown


class InputError(ValueError):
    """A recipe, a reference or an option that the user has to correct; one line with value, cause and fix (exit 2)."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))  # a value may be an address with a password


class RunError(RuntimeError):
    """The input is right and the run failed all the same: disk full, broken block, missed target (exit 1)."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))


FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn the operating system's "no space" into a `RunError` that names what was being written.

    Args:
        what: The file or folder, as the user knows it.

    Raises:
        RunError: The disk, the quota or the file size limit is exhausted.
        InputError: The place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK:
            raise RunError(
                f"disk full while writing {what}: {_reason(error)}; free some space and run the same command again"
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise InputError(f"cannot write {what}: {_reason(error)}; choose a folder you may write to") from error
        raise


def one_line(error: BaseException) -> str:
    """The message of any exception, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """The words " (did you mean 'x'?)" for the known name closest to `name`, or nothing when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _reason(error: OSError) -> str:
    return (error.strerror or one_line(error)).lower()
