"""The command `review`: look at the images of a run, and see what people said of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from terrasynth.synthesis.cli.options import PATH
from terrasynth.words import counted

if TYPE_CHECKING:
    from terrasynth.synthesis.studies.review.summary import Agreement, ReviewSummary


@click.command(short_help="Look at the images of a run, and say which may stay.")
@click.argument("run", type=PATH)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port of the page; 0 for any free one.")
@click.option("--summary", is_flag=True, help="Only print what was said so far.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1),
              help="Of the random sample from which --summary estimates.")
def review(run: Path, port: int, summary: bool, seed: int) -> None:
    """Look at the images of RUN one by one and say which may stay: a page on this machine, for the keyboard.

    Verdicts are kept in RUN/review/. The filter `{kind: review}` in the recipe lets them decide.
    """
    from terrasynth.synthesis.cli.serve import check_service_extra
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.core.layout import VERDICTS
    from terrasynth.synthesis.core.storage.object_path import ObjectPath
    from terrasynth.synthesis.studies.review.looking import Review
    from terrasynth.synthesis.studies.review.summary import summarize

    if summary:
        for line in _lines(summarize(run, seed)):
            click.echo(line)
        return
    check_service_extra()
    if isinstance(run, ObjectPath):
        raise InputError(f"{str(run)!r} lies in object storage, and a review takes a folder; copy the run to one, and "
                         f"copy its {VERDICTS} back")
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
    if not found.reviewers:
        return [f"nobody has looked at it yet; {counted(found.accepted, 'image')} wait{'s' * (found.accepted == 1)}"]
    lines = [f"looked at        {counted(found.looked_at, 'image')}: {found.looked_at - found.rejected} may stay, "
             f"{found.rejected} rejected"]
    lines += [f"by {each.name:<13} {counted(each.verdicts, 'verdict')}: {each.accepted} accept, "
              f"{each.verdicts - each.accepted} reject; {each.blind} blind" for each in found.reviewers]
    if found.reasons:
        why = ", ".join(f"{reason or 'no reason given'} {count}" for reason, count in found.reasons.items())
        lines.append(f"reasons          {why}")
    lines.append(f"estimate         {_estimate(found)}")
    if found.gap and found.good is not None:
        lines.append(f"                 {found.gap}")
    agreements = [f"{each.one} and {each.other}: {_agreement(each)}" for each in found.pairs]
    agreements += [f"people and the filter {each.other}: {_agreement(each)}" for each in found.filters]
    if found.together and len(found.pairs) > 1:
        agreements.append(f"all reviewers: mean kappa {found.together}")
    if any(each.kappa is None for each in (*found.pairs, *found.filters)):
        agreements.append("no kappa where one of the two always says the same")
    lines += [f"{'' if number else 'agreement':<16} {said}" for number, said in enumerate(agreements)]
    if found.captions:
        lines.append(f"captions         of {counted(found.captions, 'image')} by hand")
    if found.to_do:
        lines.append(f"to do            {found.to_do}")
    elif not found.in_recipe:
        lines.append("to do            nothing: the recipe has no filter `review`, so that verdicts decide nothing")
    return lines


def _estimate(found: ReviewSummary) -> str:
    """Which share of all images that the filters let pass people would let stay, by a random sample of them."""
    of = f"of the {counted(found.accepted, 'image')} that the filters let pass"
    if found.good is not None:
        return f"the share {of} that may stay is {found.good}, by a random sample"
    if found.waiting:  # it grew since, so that what was looked at is no random sample of it
        return f"the share {of} that may stay is not known yet: {found.gap}"
    return f"the share {of} that may stay is not known: nobody has looked at a random sample of them"


def _agreement(found: Agreement) -> str:
    kappa = "" if found.kappa is None else f", kappa {found.kappa}"
    return f"the same of {found.same} of {counted(found.images, 'image')}{kappa}"
