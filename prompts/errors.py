"""What a user can get wrong about prompts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A name, an option or a file that the user has to correct; one line with value, cause and fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: ` (nearest: 'harbor')`, or nothing where no known name resembles it."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (nearest: {found[0]!r})" if found else ""
