"""Errors of libraries that read a user's files, told apart: files that cannot be used, and a machine that ran short.

A library has a class of error for every way in which a file can be wrong, and a new one with each release. So all of
them mean the same here, but for what says nothing about the file: no memory, no file handle, no room on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from terrasynth.errors import UserError, shortened
from terrasynth.synthesis.core.errors import FULL_DISK, TRANSIENT, InputError, RunError, one_line

SHORTAGE = FULL_DISK | TRANSIENT
SHORTEST = 10
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


@contextmanager
def library_errors(explain: Callable[[str], str]) -> Iterator[None]:
    """Turn whatever a library raises within the block into one line for the user.

    Args:
        explain: Makes the message of the library's own, which is on one line and at most 200 characters long.

    Raises:
        InputError: A library raised; errors of ours, those of a package that cannot be imported, and those of a
            machine that ran short stay as they are.
    """
    try:
        yield
    except (UserError, RunError, ImportError):
        raise
    except Exception as error:
        if is_shortage(error):
            raise
        told = one_line(error)
        if not isinstance(error, ValueError | OSError | RuntimeError) or len(told) < SHORTEST:
            told = f"{type(error).__name__}: {told}"  # a key or a type alone says nothing
        raise InputError(explain(shortened(told, 200))) from error


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory, file handles or disk ran out, so that it says nothing about a file."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno in SHORTAGE:
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _NO_MEMORY)
