"""What a user can get wrong about prompts."""

from __future__ import annotations

from terrasynth.errors import UserError
from terrasynth.prompts.addresses import shown


class InputError(UserError):
    """A name, an option or a file that the user has to correct; one line with value, cause and fix, and no secret."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))
