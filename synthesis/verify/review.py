"""Checks of the review: its file is whole and the run's own, and the run's decisions know what it says."""

from __future__ import annotations

from collections.abc import Iterator

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RefusedError, RunError, one_line
from terrasynth.synthesis.ledger.judged_rows import REVIEW, JudgedRows, count_pending
from terrasynth.synthesis.review.file import ReviewFile
from terrasynth.synthesis.review.standing import Standing
from terrasynth.synthesis.verify.faults import Fault, Remedy, refused
from terrasynth.synthesis.verify.record import CheckedRun


def review_faults(run: CheckedRun, decided: bool) -> Iterator[Fault]:
    """What is wrong with the verdicts of people; nothing of them can be made again.

    Args:
        decided: Whether its decisions can be read.
    """
    file = ReviewFile(run.root, run.identity.hash)
    try:
        entries = file.read()
    except RefusedError as error:
        yield refused(layout.VERDICTS, error)
        return
    except (InputError, RunError) as error:
        what, _, advice = one_line(error).partition("; ")
        yield Fault(layout.VERDICTS, what.removeprefix(str(file.path)).lstrip(": "), Remedy.USER, advice)
        return
    if entries:
        run.count("lines of review", len(entries))
    if run.recipe is None or not decided or REVIEW not in run.recipe.filter_names:
        return
    pending = count_pending(JudgedRows.read(run.root), Standing.of(entries))
    if pending:
        images = "1 image was" if pending == 1 else f"{pending} images were"
        yield Fault(layout.DECISIONS, f"written before {images} reviewed as {layout.VERDICTS} has it now", Remedy.RUN)
