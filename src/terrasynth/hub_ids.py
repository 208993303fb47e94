"""How the id of a model on the Hub is told from a path."""

from __future__ import annotations

import os
import re

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w")


def is_hub_id(text: str) -> bool:
    """Whether a text has the form of a Hub id, `owner/name`, without a revision.

    Example:
        >>> from terrasynth.hub_ids import is_hub_id
        >>> is_hub_id("openai/clip-vit-base-patch32"), is_hub_id("./judge"), is_hub_id("judge")
        (True, False, False)
    """
    return _HUB_ID.fullmatch(text) is not None


def missing_here(reference: str) -> str | None:
    """What to say of a reference that leads nowhere, where what it would lie in is a folder of this machine.

    `own/judge` is taken for a path and not for a Hub id where `own` is a folder; `own/judge@main` is always an id.

    Returns:
        What follows the reference in a message; None where the folder above it is not here, either.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth.hub_ids import missing_here
        >>> missing_here("no-such-owner/name") is None
        True
        >>> with TemporaryDirectory() as own:
        ...     missing_here(f"{own}/judge") == f"is no folder here, and {own} is: is its training finished?"
        True
    """
    path = os.path.normpath(os.path.expanduser(reference.strip()))
    above = os.path.dirname(path)
    if not above or not os.path.basename(path) or not os.path.isdir(above):
        return None
    identifier, at, _ = reference.strip().partition("@")
    if at and is_hub_id(identifier):
        return None
    words = f"is no folder here, and {above} is: is its training finished?"
    return f"{words} (for one on the Hub write {identifier}@main)" if is_hub_id(identifier) else words
