"""The commands around a recipe: `plan` and `run`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.names import EXPANDERS, FILTERS, GENERATORS, RECIPES, NameType, NamingCommand
from terrasynth.synthesis.cli.options import PATH
from terrasynth.synthesis.core.stopping import stop_on_signal
from terrasynth.words import counted

if TYPE_CHECKING:
    from terrasynth.synthesis import Recipe

FINISHING = "finishing the current block; press again to end at once"
_RECIPE = click.argument("recipe", type=NameType(RECIPES))
_IN_A_RECIPE = (GENERATORS, EXPANDERS, FILTERS)
_SET = click.option("--set", "overrides", multiple=True, metavar="A.B=C",
                    help="Change a setting of the recipe; lists are counted from 0, as in filters.0.pass_real=0.9.")


@click.command(cls=NamingCommand, also=_IN_A_RECIPE,
               short_help="Say what a recipe makes, and what it costs; make nothing.")
@_RECIPE
@click.option("--out", type=PATH, help="The run directory, to count what it holds already.")
@_SET
def plan(recipe: str, out: Path | None, overrides: Sequence[str]) -> None:
    """Say what RECIPE would make, how long it would take and how much disk; makes nothing."""
    from terrasynth.synthesis import Recipe
    from terrasynth.synthesis import plan as plan_recipe
    from terrasynth.synthesis.core.progress import Progress

    loaded = Recipe.load(recipe, overrides)
    progress = Progress()
    progress.begin(f"checking the recipe and loading {loaded.generator.model}")

    def note(text: str) -> None:
        progress.clear()
        click.echo(f"note: {text}")

    try:
        planned = plan_recipe(loaded, out, progress.tell, note)
    finally:
        progress.clear()
    for line in planned.lines():
        click.echo(line)
    for label, prompts in planned.prompts.items():
        click.echo(f"\n{label}")
        for prompt in prompts:
            click.echo(f"    {prompt}")


@click.command(cls=NamingCommand, also=_IN_A_RECIPE, short_help="Make the data set of a recipe, or go on with it.")
@_RECIPE
@click.option("--out", type=PATH, required=True, help="The run directory; an existing run goes on.")
@click.option("--repair", is_flag=True, help="First move damaged files to RUN/damaged/; they are made again.")
@click.option("--shrink", is_flag=True, help="Give up rows that the run has beyond a smaller target.")
@click.option("--part", metavar="I/N", help="Make the blocks of part I of N alone, and decide on none: for any "
              "scheduler that starts many. Run it without --part when they have ended.")
@click.option("--share", type=float, help="With --part: the share of attempts that will be accepted, above 0. Without "
              "it, what the run has seen; before its first decision no block is made that may turn out not to be "
              "needed.")
@_SET
def run(recipe: str, out: Path, repair: bool, shrink: bool, part: str | None, share: float | None,
        overrides: Sequence[str]) -> None:
    """Make the data set of RECIPE (a file, or the name of a shipped recipe).

    The same command resumes after a crash; a larger target grows the data set; other filters judge it again.
    Exit code 0 when it is done, also where images wait for review, which is said; 1 when a class missed its target.
    """
    from terrasynth.synthesis import Recipe
    from terrasynth.synthesis import run as run_recipe
    from terrasynth.synthesis.core.errors import RunError
    from terrasynth.synthesis.core.progress import Progress
    from terrasynth.synthesis.ledger.judged_rows import nobody_line, unseen_line

    loaded = Recipe.load(recipe, overrides)
    if part is not None or share is not None:
        if repair or shrink or part is None:
            raise click.UsageError("--share is for --part, and --repair and --shrink are for the run itself")
        _make_part(loaded, out, part, share)
        return
    if repair and out.is_dir():
        _set_damaged_aside(out)
    with stop_on_signal(FINISHING) as should_stop:
        progress = Progress()
        progress.begin(f"checking the recipe and loading {loaded.generator.model}")
        try:
            result = run_recipe(loaded, out, on_event=progress, should_stop=should_stop, shrink=shrink)
        finally:
            progress.clear()
    filled = sum(each.accepted > 0 for each in result.counts)
    click.echo(f"data set   {result.root}   ({counted(result.accepted, 'image')} of "
               f"{counted(filled, 'class', 'classes')})")
    click.echo(f"card       {result.root / 'README.md'}")
    click.echo(f"report     {result.root / 'report' / 'index.html'}")
    if unseen := unseen_line(result.unseen, result.accepted, shlex.quote(str(out))) or nobody_line(result.root, out):
        click.echo(f"review     {unseen}")
    if result.stopped:
        raise RunError("stopped before the targets were reached; run the same command again to carry on")
    if waits := result.review_line(f"`terrasynth review {shlex.quote(str(out))}`", "the same `terrasynth run`"):
        click.echo(f"review     {waits}")
    if wrong := result.failure or result.shortfall(loaded.target.max_attempts):
        raise RunError(wrong)


def _make_part(recipe: Recipe, out: Path, which: str, share: float | None) -> None:
    from terrasynth.synthesis.core.errors import RunError
    from terrasynth.synthesis.core.progress import Progress
    from terrasynth.synthesis.events import BlockAhead, Event
    from terrasynth.synthesis.parts import make_part

    number, _, of = which.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise click.UsageError(f"--part {which!r} is none; give it as 3/16")
    progress = Progress()

    def told(event: Event) -> None:
        if isinstance(event, BlockAhead):
            progress.tell(f"{event.label} block {event.index}{'' if event.drawn else ' was there'}")

    with stop_on_signal(FINISHING) as should_stop:
        progress.begin(f"checking the recipe and loading {recipe.generator.model}")
        try:
            made = make_part(recipe, out, int(number), int(of), share, told, should_stop)
        finally:
            progress.clear()
    click.echo(f"part {made.part} of {made.of}: {counted(made.blocks, 'block')}, {counted(made.drawn, 'image')} drawn "
               f"now; all parts: {counted(made.every, 'image')}, of which {made.needed} are needed in any case")
    if made.stopped:
        raise RunError("stopped before its last block; run the same command again to carry on")


def _set_damaged_aside(out: Path) -> None:
    from terrasynth.synthesis.verify.repair import set_aside
    from terrasynth.synthesis.verify.verifying import verify

    faults = list(verify(out))
    for fault in faults:
        click.echo(fault.line, err=True)
    for path in set_aside(out, faults):
        click.echo(f"moved to {path}", err=True)
