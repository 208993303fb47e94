"""The command `eval`: `eval RUN` judges a data set, and its subcommands judge what else there is to judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from typing_extensions import override

from terrasynth.errors import nearest
from terrasynth.synthesis.cli import evaluate_copies, evaluate_filters
from terrasynth.synthesis.cli.captions import captions
from terrasynth.synthesis.cli.downstream import downstream
from terrasynth.synthesis.cli.evaluate_layouts import layouts
from terrasynth.synthesis.cli.options import PATH, cache_option, judge_options, run_argument, seed_option, split_option
from terrasynth.synthesis.cli.protocols import protocol
from terrasynth.synthesis.cli.real_data import RealData

if TYPE_CHECKING:
    from terrasynth.eval.evaluation.record import Evaluation
    from terrasynth.synthesis.core.real_pictures import RealPictures

TRAIN = "train"


class EvalGroup(click.Group):
    """A group whose own arguments may be those of a command: what names no subcommand goes to `judge`."""

    def __init__(self, judge: click.Command, name: str, help: str, commands: Sequence[click.Command]) -> None:
        super().__init__(name=name, help=help, commands=commands,
                         short_help="Judge a data set, its filters or its parts.")
        self._judge = judge

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and ctx.resilient_parsing:  # a shell asks which subcommands there are
            return super().parse_args(ctx, args)
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
        close = nearest(name, self.commands, likeness=0.7)
        if close and not Path(rest[0]).exists():
            raise click.UsageError(f"{rest[0]!r} is no folder and no subcommand of eval{close}")
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
@run_argument
@click.option("--real", type=PATH, help="Real image-caption data; adds distances and realism.")
@split_option("test", "Split of the real data.")
@judge_options("Scores images against texts.", "Names scenes; gives the features.")
@click.option("--features", multiple=True, metavar="MODEL",
              help="A further encoder of images, for further distances to real ones; may be repeated.")
@click.option("--limit", default=2000, show_default=True, type=click.IntRange(1), help="Most images of each kind.")
@seed_option("Decides samples and intervals.")
@cache_option
@click.option("--reference", help="Statistics of real images: a shipped name, as ucm-test-128, or a folder.")
@click.option("--full", is_flag=True, help="Print all figures, each with how it was measured.")
@click.option("--table", is_flag=True, help="Print all figures as a Markdown table.")
@click.option("--out", type=PATH, help="Also write the figures into this JSON file.")
@click.option("--report", type=PATH, metavar="FOLDER",
              help="Also write index.html, one page with charts and images, and report.json.")
@click.option("--train", type=PATH,
              help="In the report: what the generator was trained on. Default: split train of --real.")
@click.option("--sweep", multiple=True, type=PATH, metavar="RUN",
              help="In the report: a run that differs in guidance alone; may be repeated.")
def judge(
    run_directory: Path, real: Path | None, split: str, encoder: str, classifier: str, features: Sequence[str],
    limit: int, seed: int, cache: str | None, reference: str | None, full: bool, table: bool, out: Path | None,
    report: Path | None, train: Path | None, sweep: Sequence[Path],
) -> None:
    """Judge the data set in RUN with models that did not choose its rows."""
    from terrasynth.eval.evaluation.findings import circular
    from terrasynth.eval.models.feature_cache import cache_folder
    from terrasynth.synthesis.core import layout
    from terrasynth.synthesis.core.knowledge import unknown_classes
    from terrasynth.synthesis.ledger.directory import RunDirectory
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.studies.evaluation import Judges, judge_run, realism_of, write_evaluation
    from terrasynth.synthesis.studies.evaluation_page import collect, find_copies, write_page
    from terrasynth.synthesis.studies.guidance import check_sweep, sweep_points
    from terrasynth.synthesis.studies.reference import against_reference

    if report is None and (train or sweep):
        raise click.UsageError(f"{'--train' if train else '--sweep'} is for the report; add --report FOLDER")
    records = [] if report is None else [RunDirectory.open(run) for run in (run_directory, *sweep)]
    check_sweep(records)
    pictures = RunPictures.read(run_directory, limit)
    data = None if real is None else RealData(real)
    others = None if data is None else data.images(split, limit, pictures.size)
    judges = Judges.load(encoder, classifier, features, cache_folder(cache))
    found = judge_run(pictures, judges, seed, None if others is None else judges.of_real(others),
                      None if others is None else realism_of(pictures, others, run_directory, seed))
    for line in _lines(found.evaluation, full, table):
        click.echo(line)
    for role, model in (("encoder", encoder), ("classifier", classifier)):
        if unknown := unknown_classes(model, dict.fromkeys(pictures.labels)):
            them = "it" if len(unknown) == 1 else "them"
            click.echo(f"warning: --{role} {model} never met {', '.join(unknown)}, so its figures say little of "
                       f"{them}; `terrasynth train judge` makes one that has", err=True)
    if (run_directory / layout.RECIPE).is_file():
        for caution in circular(found.evaluation, RunDirectory(run_directory).filter_networks()):
            click.echo(f"warning: {caution.text}", err=True)
    distances = []
    if reference is not None:
        distances = against_reference(run_directory, reference, [classifier, encoder], limit)
    for each in distances:
        click.echo(each.line())
    if out is not None:
        write_evaluation(out, found.evaluation)
    if report is not None:
        trained, absent = _training(data, split, train, pictures.size)
        copies = None
        if trained is not None and others is not None:
            copies = find_copies(found, trained, others, encoder, seed, cache_folder(cache))
        about: dict[str, object] = {"seed": seed}
        if real is not None and others is not None:
            about["real images"] = f"{len(others.images)} of {real.resolve().stem}, split {split}"
        page = collect(records[0], found, about=about, copies=copies, absent=absent, references=distances,
                       sweep=sweep_points(records, found, judges, limit, seed))
        click.echo(f"page {write_page(report, page)}")


def _lines(evaluation: Evaluation, full: bool, table: bool) -> list[str]:
    """What is printed of the figures: those that are read first, or all."""
    if table or full:
        return [evaluation.table()] if table else evaluation.lines()
    first, every = evaluation.first_lines(), evaluation.lines()
    return [*first, f"{'all figures':<16} {len(every)}, with how each was measured: --full, --table, --out FILE or "
                    "--report FOLDER"]


def _training(
    real: RealData | None, split: str, train: Path | None, size: tuple[int, int]
) -> tuple[RealPictures | None, dict[str, str]]:
    """Training images for the report, or why there are none."""
    from terrasynth.synthesis.core.errors import InputError

    if real is None:
        if train is not None:
            raise click.UsageError("--train needs --real: real images that were held out are its null")
        return None, {"Distances and ceilings": "no real images; give --real",
                      "Copies of training images": "no training images; give --real, and --train where its split "
                                                     "train is not what the generator learned from"}
    if train is None and split == TRAIN:
        return None, {"Copies of training images": "the real images are those of split train; give another --split"}
    try:
        return (real if train is None else RealData(train)).images(TRAIN, None, size), {}
    except InputError:
        if train is not None:
            raise
        return None, {"Copies of training images": f"{real.source.resolve().stem} has no split train; give --train"}


eval_group = EvalGroup(
    judge,
    "eval",
    "Judge the data set in RUN with models that did not choose its rows, or run one of the commands below.\n\n"
    "A run folder of a command's name is given as ./NAME.",
    (*evaluate_filters.COMMANDS, *evaluate_copies.COMMANDS, layouts, captions, protocol, downstream),
)
