"""What a user can get wrong in evaluation."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A model reference, a folder or an option that the user has to correct; one line with value, cause and fix.

    Example:
        >>> from terrasynth.eval import resolve
        >>> resolve("no/such/model/here", ())
        Traceback (most recent call last):
        ...
        terrasynth.eval.errors.InputError: model 'no/such/model/here': no such folder, and not a Hub id; ...
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """The words " (did you mean 'x'?)" for the known name closest to `name`, or nothing when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def one_line(error: BaseException) -> str:
    """The message of any exception, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
