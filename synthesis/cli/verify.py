"""The command `verify`: is a run, or an export of one, whole?"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.options import PATH
from terrasynth.words import counted

if TYPE_CHECKING:
    from terrasynth.synthesis.verify.faults import Fault
    from terrasynth.synthesis.verify.verifying import Verification


@click.command(short_help="Check every file of a run or an export, and repair it.")
@click.argument("run", type=PATH)
@click.option("--fast", is_flag=True, help="Decode no image, and compare rows by their ids alone.")
@click.option("--repair", is_flag=True, help="Move damaged files to RUN/damaged/ and make them again.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def verify(run: Path, fast: bool, repair: bool, as_json: bool) -> None:
    """Check every file of RUN: blocks, scores, decisions, data, card, report, and each image in them.

    One line for each fault: the file, what is wrong with it, and what mends it. Exit code 0 when there is none.
    Verdicts of a review that the run has not taken in yet are no fault; a note says which command takes them in.
    """
    from terrasynth.synthesis.verify.repair import MENDED
    from terrasynth.synthesis.verify.verifying import Verification
    from terrasynth.synthesis.verify.verifying import verify as verify_run

    looked = Verification()
    faults = []
    for fault in verify_run(run, fast and not repair, looked):
        faults.append(fault)
        if not as_json:
            click.echo(fault.line)
    if repair and any(fault.remedy in MENDED for fault in faults):
        faults = _repair(run, faults, looked, as_json)
    if as_json:
        found = [fault.to_json() for fault in faults]
        click.echo(json.dumps({"whole": not faults, "counts": looked.counts, "faults": found, "notes": looked.notes},
                              indent=1))
    elif not faults:
        how = "images were not decoded" if fast and not repair else "every image was decoded"
        click.echo(f"{run} is whole: {looked.summary}; {how}")
    for note in () if as_json else looked.notes:
        click.echo(f"note: {note}")
    if faults:
        _fail(run, len(faults), sum(fault.remedy in MENDED for fault in faults), repair)


def _repair(run: Path, faults: list[Fault], looked: Verification, quiet: bool) -> list[Fault]:
    """Make again what is damaged and look once more; returns what is still wrong."""
    from terrasynth.synthesis import run as run_recipe
    from terrasynth.synthesis.core.progress import Progress
    from terrasynth.synthesis.ledger.directory import RunDirectory
    from terrasynth.synthesis.verify.repair import set_aside
    from terrasynth.synthesis.verify.verifying import verify as verify_run

    moved = set_aside(run, faults)
    result = run_recipe(RunDirectory(run).recipe, run, on_event=None if quiet else Progress())
    left = list(verify_run(run, into=looked))
    if not quiet:
        click.echo(f"{counted(len(moved), 'file')} moved to {run / 'damaged'}, {counted(result.drawn, 'image')} drawn")
        for fault in left:
            click.echo(fault.line)
    return left


def _fail(run: Path, faults: int, mended: int, repaired: bool) -> None:
    from terrasynth.synthesis.core.errors import RunError

    command = shlex.join(["terrasynth", "verify", str(run), "--repair"])
    way_out = "" if repaired or not mended else f"; `{command}` mends {mended} of them"
    raise RunError(f"{counted(faults, 'fault')} in {str(run)!r}{way_out}")
