"""What a user can get wrong in evaluation."""

from __future__ import annotations

from terrasynth.errors import UserError


class InputError(UserError):
    """A model reference, a folder or an option that the user has to correct; one line with value, cause and fix.

    Example:
        >>> from terrasynth.eval import resolve
        >>> resolve("no/such/model/here", ())
        Traceback (most recent call last):
        ...
        terrasynth.eval.errors.InputError: model 'no/such/model/here': no such folder, and not a Hub id; ...
    """
