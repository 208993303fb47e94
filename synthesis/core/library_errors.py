"""Errors of libraries that read a user's files, told apart: files that cannot be used, and a machine that ran short.

A library has a class of error for every way in which a file can be wrong, and a new one with each release. So all of
them mean the same here, but for what says nothing about the file: no memory, no file handle, no room on the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from terrasynth.errors import UserError, shortened
from terrasynth.synthesis.core.errors import FULL_DISK, TRANSIENT, InputError, RunError, one_line

SHORTAGE = FULL_DISK | TRANSIENT
SHORTEST = 10
_SHAPES = re.compile(r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[([\d, ]*)\]\) from "
                     r"checkpoint, the shape in current model is torch\.Size\(\[([\d, ]*)\]\)")
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
        told = other_shapes(str(error)) or one_line(error)
        if not isinstance(error, ValueError | OSError | RuntimeError) or len(told) < SHORTEST:
            told = f"{type(error).__name__}: {told}"  # a key or a type alone says nothing
        raise InputError(explain(shortened(told, 200))) from error


def other_shapes(message: str) -> str:
    """What torch says of tensors that are of another size than their layers, in fewer words; "" of anything else.

    Example:
        >>> from terrasynth.synthesis.core.library_errors import other_shapes
        >>> other_shapes("size mismatch for conv.weight: copying a param with shape torch.Size([8, 4]) from "
        ...              "checkpoint, the shape in current model is torch.Size([8, 2]).")
        '1 tensor has another shape than its layer: conv.weight is 8 x 4 in the file and 8 x 2 in the model'
    """
    found = _SHAPES.findall(message)
    if not found:
        return ""
    name, given, wanted = (part.replace(", ", " x ") for part in found[0])
    many = f"{len(found)} tensors have other shapes than their layers, as" if len(found) > 1 else (
        "1 tensor has another shape than its layer:")
    return f"{many} {name.replace('.default_0', '')} is {given} in the file and {wanted} in the model"


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory, file handles or disk ran out, so that it says nothing about a file."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno in SHORTAGE:
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _NO_MEMORY)
