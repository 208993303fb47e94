"""What a user can get wrong in training."""

from __future__ import annotations


class InputError(ValueError):
    """A preset, a data folder or a setting that the user has to correct; one line with value, cause and fix."""
