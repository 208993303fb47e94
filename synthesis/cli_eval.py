"""The command `eval`: `eval RUN` judges a data set, and its subcommands judge what else there is to judge."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from typing_extensions import override

if TYPE_CHECKING:
    from synthesis.evaluating import RealPair, RealPictures


@dataclass(frozen=True)
class Readers:
    """What only `training` can do, handed in by the composition root; commands get it by `click.pass_obj`.

    Attributes:
        pairs: The pairs of real image-caption data in a split, at least one; what was left out goes to standard error.
    """

    pairs: Callable[[Path, str], Sequence[RealPair]]

    def pictures(self, source: Path, split: str, limit: int | None, size: tuple[int, int]) -> RealPictures:
        """The first pictures of a split, at one (width, height), with a caption and, where all have one, the class."""
        from synthesis.evaluating import real_pictures

        return real_pictures(self.pairs(source, split)[:limit], size)


class EvalGroup(click.Group):
    """A group whose own arguments may be those of a command: what names no subcommand goes to `judge`.

    Args:
        judge: The command that takes over.
        name: The group's.
        help: What it does.
    """

    def __init__(self, judge: click.Command, name: str, help: str) -> None:
        super().__init__(name=name, help=help)
        self._judge = judge

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["", *args]  # an empty name stands for the command without a name
        return super().parse_args(ctx, args)

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0]:
            return super().resolve_command(ctx, args)
        rest = args[1:]
        name = rest[0] if rest and "/" not in rest[0] else ""
        close = difflib.get_close_matches(name, self.commands, n=1, cutoff=0.7)
        if close and not Path(rest[0]).exists():
            raise click.UsageError(f"{rest[0]!r} is no folder and no subcommand of eval (did you mean {close[0]!r}?)")
        return "", self._judge, rest

    @override
    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "RUN [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND ...", prefix="   or: ")

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with click.Context(self._judge, info_name="RUN", parent=ctx) as judging:
            click.Command.format_options(self._judge, judging, formatter)
        self.format_commands(ctx, formatter)


class _JudgeCommand(click.Command):
    @override
    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.parent.command_path if ctx.parent else "", "RUN [OPTIONS]")


@click.command(cls=_JudgeCommand)
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--real", type=click.Path(path_type=Path), help="Real image-caption data; adds the Frechet distance.")
@click.option("--split", default="test", show_default=True, help="Split of the real data.")
@click.option("--encoder", default="clip-ucm-b", show_default=True, help="Scores pictures against texts.")
@click.option("--classifier", default="scene-ucm", show_default=True, help="Names scenes; gives the features.")
@click.option("--limit", default=2000, show_default=True, type=click.IntRange(1), help="Most pictures of each kind.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Decides samples and intervals.")
@click.option("--cache", metavar="FOLDER|none", help="Keeps features. Default: $XDG_CACHE_HOME/terrasynth/features.")
@click.option("--reference", help="Statistics of real pictures: a shipped name, as ucm-test-128, or a folder.")
@click.option("--table", is_flag=True, help="Print a Markdown table instead of lines.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the figures into this JSON file.")
@click.pass_obj
def judge(
    readers: Readers, run_directory: Path, real: Path | None, split: str, encoder: str, classifier: str, limit: int,
    seed: int, cache: str | None, reference: str | None, table: bool, out: Path | None,
) -> None:
    """Judge the data set in RUN with models that did not choose its rows."""
    from eval.feature_cache import cache_folder
    from synthesis.evaluating import evaluate_run, picture_size, write_evaluation

    pictures = None if real is None else readers.pictures(real, split, limit, picture_size(run_directory))
    evaluation = evaluate_run(run_directory, encoder, classifier, limit, seed, pictures, cache_folder(cache))
    for line in [evaluation.table()] if table else evaluation.lines():
        click.echo(line)
    if reference is not None:
        from synthesis.against_reference import against_reference

        for found in against_reference(run_directory, reference, [classifier, encoder], limit):
            click.echo(found.line())
    if out is not None:
        write_evaluation(out, evaluation)


def eval_group(readers: Readers, commands: Sequence[click.Command]) -> click.Group:
    """The group with its subcommands.

    Args:
        readers: Handed to every command as its object.
        commands: The subcommands.
    """
    group = EvalGroup(
        judge,
        "eval",
        "Judge the data set in RUN with models that did not choose its rows, or run one of the commands below.\n\n"
        "A run folder of a command's name is given as ./NAME.",
    )
    group.context_settings["obj"] = readers
    for command in commands:
        group.add_command(command)
    return group
