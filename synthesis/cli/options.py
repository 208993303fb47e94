"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from typing_extensions import override

from terrasynth.synthesis.cli.names import EVALUATORS, NameType

if TYPE_CHECKING:
    from terrasynth.synthesis.cards.licences import Statement

_Command = TypeVar("_Command", bound=Callable[..., Any])



class PlaceType(click.Path):
    """A path of this machine, or an address of object storage."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path, or a path of objects."""
        from terrasynth.synthesis.core.storage.object_path import place

        return place(value)


PATH = PlaceType(path_type=Path)

run_argument = click.argument("run_directory", metavar="RUN", type=PATH)
cache_option = click.option(
    "--cache", metavar="FOLDER|none", help="Keeps features. Default: $XDG_CACHE_HOME/terrasynth/features."
)
device_option = click.option("--device", default="auto", show_default=True, help="A torch device.")
guidance_option = click.option(
    "--guidance", type=click.FloatRange(0), help="Guidance scale; without it the model's own."
)


def seed_option(help: str) -> Callable[[_Command], _Command]:
    """The option --seed: 0 unless given."""
    return click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help=help)


def split_option(default: str, help: str, name: str = "--split") -> Callable[[_Command], _Command]:
    """The option --split, or one of another name for a split."""
    return click.option(name, default=default, show_default=True, help=help)


def judge_options(encoder: str, classifier: str) -> Callable[[_Command], _Command]:
    """The options --encoder and --classifier of what judges."""
    def add(command: _Command) -> _Command:
        for option, default, help in (("--classifier", "scene-ucm", classifier), ("--encoder", "clip-ucm-b", encoder)):
            command = click.option(option, default=default, show_default=True, type=NameType(EVALUATORS), help=help)(
                command)
        return command

    return add


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


def ignore_review_option(does: str) -> Callable[[_Command], _Command]:
    """The option --ignore-review of a command by which a data set goes out.

    Args:
        does: What that command does, as "Publish".
    """
    return click.option("--ignore-review", is_flag=True,
                        help=f"{does} it although reviewers said what the run has not taken in.")


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
