"""What a user can get wrong in evaluation."""

from __future__ import annotations

from terrasynth.errors import UserError


class InputError(UserError):
    """A model reference, a folder or an option that the user has to correct; one line with value, cause and fix."""
