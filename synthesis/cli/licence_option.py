"""Options of the commands that let a user state a licence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from terrasynth.synthesis.cards.licences import Statement

_Command = TypeVar("_Command", bound=Callable[..., Any])


def licence_options(command: _Command) -> _Command:
    """Add --licence, --licence-name, --licence-link and --licence-reason."""
    for add in (
        click.option("--licence-reason", default="", metavar="TEXT",
                     help="Why you may state a licence that is looser than the sources'; recorded and published."),
        click.option("--licence-link", default="", help="With --licence other: where its text is."),
        click.option("--licence-name", default="", help="With --licence other: what it is called."),
        click.option("--licence", metavar="ID", help="What it is published under, where the sources do not say; or "
                                                     "stricter."),
    ):
        command = add(command)
    return command


def statement(licence: str | None, name: str, link: str, reason: str, by: str) -> Statement | None:
    """What the options state; None for nothing.

    Raises:
        InputError: Name or link without a licence, or a licence that the Hub does not know.
    """
    from terrasynth.synthesis.cards.licences import Statement
    from terrasynth.synthesis.core.errors import InputError

    if licence is None and (name or link):
        raise InputError("--licence-name and --licence-link go with --licence other; add it")
    if licence is None and reason:
        raise InputError("--licence-reason goes with --licence; add the licence that it is a reason for")
    return None if licence is None else Statement(licence.lower(), name, link, by, " ".join(reason.split()))
