"""How the id of a model on the Hub is told from a path."""

from __future__ import annotations

import difflib
import os
import re
from itertools import islice
from pathlib import Path

_ENDINGS = (".yaml", ".yml", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet", ".tar", ".tgz", ".gz", ".zip")
_LISTED = 1000  # entries of a folder among which a name is looked for
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
    above, identifier = _above(reference), reference.strip().partition("@")[0]
    if above is None:
        return None
    asked = meant(reference) or ": is its training finished?"
    words = f"is no folder here, and {above} is{asked}"
    return f"{words} (for one on the Hub write {identifier}@main)" if is_hub_id(identifier) else words


def no_data_here(place: str) -> str | None:
    """What to say of a place of data that leads nowhere, where it looks like a path and not like a Hub id.

    It does with the ending of a file that data come in, and where the folder above it is here; never with a revision.

    Returns:
        What follows the place in a message; None where it may be an id.

    Example:
        >>> from terrasynth.hub_ids import no_data_here
        >>> no_data_here("no-such-owner/name"), no_data_here("no-such-owner/data.yaml@main")
        (None, None)
        >>> no_data_here("no-such-folder/data.yaml")
        'is no file here; check its name (for data on the Hub write no-such-folder/data.yaml@main)'
    """
    if "@" in place:
        return None
    hint = f"check its name{meant(place)} (for data on the Hub write {place}@main)"
    if place.lower().endswith(_ENDINGS):
        return f"is no file here; {hint}"
    above = _above(place)
    return None if above is None else f"is not here, and the folder {above} is; {hint}"


def meant(reference: str) -> str:
    """The words " (did you mean 'x'?)" for the path on this machine that is most like one that leads nowhere, or "".

    Args:
        reference: A path of which one part or several may be mistyped.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth.hub_ids import meant
        >>> with TemporaryDirectory() as own:
        ...     (Path(own) / "lora").mkdir()
        ...     meant(f"{own}/lroa") == f" (did you mean '{own}/lora'?)", meant(f"{own}/judge")
        (True, '')
    """
    path = Path(os.path.expanduser(reference.strip()))
    here = Path(path.anchor or ".")
    for part in path.parts[1 if path.anchor else 0:]:
        if not (here / part).exists():
            try:
                known = [each.name for each in islice(here.iterdir(), _LISTED)]
            except OSError:
                return ""
            close = difflib.get_close_matches(part, known, n=1)
            if not close:
                return ""
            part = close[0]
        here /= part
    return "" if here == path or not path.parts else f" (did you mean {str(here)!r}?)"


def _above(reference: str) -> str | None:
    """The folder that a reference would lie in, where that is here and nothing says that an id is meant."""
    path = os.path.normpath(os.path.expanduser(reference.strip()))
    above = os.path.dirname(path)
    if not above or not os.path.basename(path) or not os.path.isdir(above):
        return None
    identifier, at, _ = reference.strip().partition("@")
    return None if at and is_hub_id(identifier) else above
