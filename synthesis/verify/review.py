"""Checks of the review: its file is whole, the run's own, and has all that decisions took from it.

What people said after the run decided is no fault: it is noted, with the command that takes it in.
"""

from __future__ import annotations

from collections.abc import Iterator

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RefusedError, RunError, one_line
from terrasynth.synthesis.ledger.judged_rows import REVIEW, JudgedRows
from terrasynth.synthesis.ledger.pending_review import PendingReview, taken_in
from terrasynth.synthesis.review.entries import Verdict
from terrasynth.synthesis.review.file import ReviewFile
from terrasynth.synthesis.verify.faults import Fault, Remedy, refused
from terrasynth.synthesis.verify.record import CheckedRun
from terrasynth.words import counted


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
    if run.recipe is None or not decided:
        return
    pending = PendingReview.read(run.root, run.recipe)
    if REVIEW in run.recipe.filter_names:
        there = {each.subject.row for each in entries if isinstance(each, Verdict)}
        lost = len(taken_in(JudgedRows.read(run.root)).keys() - there)
        if lost:
            what = f"lacks the verdicts on {counted(lost, 'image')} that {layout.DECISIONS} took in"
            yield Fault(layout.VERDICTS, what, Remedy.USER,
                        f"put a copy of the file back, or let `{pending.command}` decide without them")
            return
    if pending.line:
        run.notes.append(pending.line)
