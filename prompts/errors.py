"""What a user can get wrong about prompts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from terrasynth.prompts.addresses import shown


class InputError(ValueError):
    """A name, an option or a file that the user has to correct; one line with value, cause and fix, and no secret."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: ` (nearest: 'harbor')`, or nothing where no known name resembles it."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (nearest: {found[0]!r})" if found else ""
