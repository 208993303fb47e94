"""The command `review`: look at the images of a run, and see what people said of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from terrasynth.synthesis.studies.review.summary import Agreement, ReviewSummary


@click.command(short_help="Look at the images of a run, and say which may stay.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port of the page; 0 for any free one.")
@click.option("--summary", is_flag=True, help="Only print what was said so far.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1),
              help="Of the random sample from which --summary estimates.")
def review(run: Path, port: int, summary: bool, seed: int) -> None:
    """Look at the images of RUN one by one and say which may stay: a page on this machine, for the keyboard.

    Verdicts are kept in RUN/review/. The filter `{kind: review}` in the recipe lets them decide.
    """
    from terrasynth.synthesis.cli.serve import check_service_extra
    from terrasynth.synthesis.studies.review.looking import Review
    from terrasynth.synthesis.studies.review.summary import summarize

    if summary:
        for line in _lines(summarize(run, seed)):
            click.echo(line)
        return
    check_service_extra()
    looked = Review(run)
    _ = looked.rows, looked.standing  # what is wrong with them is said here, not on the page
    _serve(run.resolve(), port)


def _serve(run: Path, port: int) -> None:
    from terrasynth.synthesis.core.errors import disk_errors
    from terrasynth.synthesis.service.app import create_app
    from terrasynth.synthesis.service.places import jobs_file
    from terrasynth.synthesis.service.server import serve
    from terrasynth.synthesis.service.settings import ServiceSettings
    from terrasynth.synthesis.service.store import JobStore

    settings = ServiceSettings(run.parent, port=port)
    with disk_errors(str(run.parent)):
        store = JobStore(jobs_file(run.parent))
    page = f"data-sets/{quote(run.name, safe='')}/review"
    try:
        with suppress(KeyboardInterrupt):  # raised again by uvicorn once it has ended in good order
            serve(create_app(settings, store), settings,
                  lambda address: click.echo(f"review     {address.rstrip('/')}/{page}   (Ctrl+C ends it)"))
    finally:
        store.close()


def _lines(found: ReviewSummary) -> list[str]:
    lines = [f"{each.name:<16} {each.verdicts} images, {each.accepted} accepted, {each.blind} blind"
             for each in found.reviewers]
    if not lines:
        return [f"nobody has looked at it yet; {found.accepted} images wait"]
    lines += [f"{count:>5} x rejected  {reason or '(no reason)'}" for reason, count in found.reasons.items()]
    if found.good is None and found.waiting:  # it grew since, so that what was looked at is no random sample of it
        lines.append(f"good images      not known yet: {found.gap}, of the {found.accepted} that the filters let pass")
    elif found.good is None:
        lines.append(f"good images      not known: nobody has looked at a random sample of the {found.accepted} that "
                     "the filters let pass")
    else:
        lines.append(f"good images      {found.good}, in a random sample of the {found.accepted} that the filters let "
                     "pass")
    if found.gap and found.good is not None:
        lines.append(f"                 {found.gap}")
    if found.together and len(found.pairs) > 1:
        lines.append(f"all reviewers    mean kappa {found.together}")
    lines += [f"{each.one} and {each.other} {_agreement(each)}" for each in found.pairs]
    lines += [f"people and the filter {each.other} {_agreement(each)}" for each in found.filters]
    if found.captions:
        lines.append(f"captions         of {found.captions} images by hand")
    if not found.in_recipe:
        lines.append("the recipe has no filter `review`, so verdicts decide nothing; add {kind: review}, and run it "
                     "again")
    elif found.pending:
        lines.append(f"{found.pending} images were reviewed since the run decided; run it again")
    return lines


def _agreement(found: Agreement) -> str:
    kappa = found.kappa or "not defined: one of the two always says the same"
    return f"agree on {found.same} of {found.images} images, kappa {kappa}"
