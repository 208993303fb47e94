"""What a user can get wrong in training."""

from __future__ import annotations

from terrasynth.errors import UserError
from terrasynth.synthesis.core.errors import TRANSIENT


class InputError(UserError):
    """A preset, a data folder or a setting that the user has to correct; one line with value, cause and fix."""


class ImageError(OSError):
    """An image that cannot be used as it is: broken, too large, or of a kind whose colors nobody stated; one line."""


def is_shortage(error: BaseException) -> bool:
    """Tell a lack of memory or of file handles, or a disk that does not answer, from a file that is broken."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in TRANSIENT)
