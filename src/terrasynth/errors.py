"""What all four packages say an error with: whose mistake it is, the nearest known name, a message on one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import ClassVar

ELLIPSIS = "..."


class UserError(ValueError):
    """What the user has to correct; each package has an `InputError` of its own.

    Attributes:
        exit_code: What a command ends with.
    """

    exit_code: ClassVar[int] = 2


def nearest(name: str, known: Iterable[str], likeness: float = 0.6,
            written: Mapping[str, str] | None = None) -> str:
    """The words " (did you mean 'x'?)" for the known name closest to `name`, or nothing when none is close.

    Args:
        name: What was written.
        known: What could have been meant.
        likeness: The least ratio of `difflib` that counts as close, 0 to 1.
        written: How a known name is written, where that is otherwise: a file with its folder.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)
    return f" (did you mean {(written or {}).get(close[0], close[0])!r}?)" if close else ""


def how_to_install(extra: str) -> str:
    """The words for what installs an extra; the project is on no package index.

    Args:
        extra: Name of an extra of `pyproject.toml`.

    Example:
        >>> from terrasynth.errors import how_to_install
        >>> how_to_install("geo")
        "in a checkout of TerraSynth: pip install -c constraints.txt '.[geo]'"
    """
    return f"in a checkout of TerraSynth: pip install -c constraints.txt '.[{extra}]'"


def one_line(error: BaseException, most: int | None = None) -> str:
    """The message of any exception, on one line.

    Args:
        most: Characters of it, as `shortened` cuts it; None for all.
    """
    said = " ".join(str(error).split()) or type(error).__name__
    return said if most is None else shortened(said, most)


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: whole, or its first words and an ellipsis.

    Args:
        most: Characters, the ellipsis included; a word that is longer than half of that is cut.

    Example:
        >>> from terrasynth.errors import shortened
        >>> shortened("no file named config.json was found in the folder", 36)
        'no file named config.json was...'
    """
    if len(text) <= most:
        return text
    kept = text[: most - len(ELLIPSIS) + 1]
    whole = kept.rpartition(" ")[0]
    return (whole if len(whole) > most // 2 else kept[:-1]).rstrip(" ,;:.([{") + ELLIPSIS


def not_installed(what: str, package: str, extra: str) -> str:
    """What to say where a package of an extra is missing, on one line.

    Args:
        what: What needs it.
        package: Its name.
        extra: The extra of TerraSynth that brings it.
    """
    return f"{what} needs {package}, which is not installed; {how_to_install(extra)}"
