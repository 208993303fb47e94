"""Texts of others in Markdown: class names, file names and settings are shown as they are and do nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_SPECIAL = re.compile(r"[\\`*|<>&]|\](?=[(\[])|(?<!\w)_|_(?!\w)")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Ready(str):
    """A text that is Markdown already."""

    __slots__ = ()


def plain(text: object) -> Ready:
    """A text on one line, in a table too, that shows its signs and means none of them."""
    if isinstance(text, Ready):
        return text
    line = _UNSEEN.sub(" ", str(text))
    return Ready(_SPECIAL.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), line))


def code(text: object) -> Ready:
    """A text in a span of code, in a table too; the mark that would end it is shown as an apostrophe."""
    return Ready(f"`{_UNSEEN.sub(' ', str(text)).replace('`', chr(39)).replace('|', chr(92) + '|')}`")


def row(cells: Iterable[object]) -> Ready:
    """A row of a table.

    Args:
        cells: Texts; those that are `Ready` stay as they are.
    """
    return Ready(f"| {' | '.join(map(plain, cells))} |")


@cache
def markdown_environment(package: str) -> Environment:
    """Templates of a package; every text in them is made `plain`, unless the filters `code` or `ready` are used."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package), undefined=StrictUndefined, autoescape=False,
        finalize=lambda value: plain(value) if isinstance(value, str) else value,
    )
    environment.filters |= {"code": code, "ready": Ready, "row": row}
    return environment
