"""What a user can get wrong in evaluation."""

from __future__ import annotations


class InputError(ValueError):
    """A model reference, a folder or an option that the user has to correct; one line with value, cause and fix."""
