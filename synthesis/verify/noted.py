"""Checks of noted decisions: a run that is resumed goes on by them, so they say what `decisions.parquet` says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RefusedError, one_line
from terrasynth.synthesis.core.files import TEMPORARY
from terrasynth.synthesis.core.records import RecordError
from terrasynth.synthesis.ledger.decisions import judgement_of
from terrasynth.synthesis.ledger.noted import NotedBlocks, read_notes
from terrasynth.synthesis.verify.data import Decisions, RecordedDecisions
from terrasynth.synthesis.verify.faults import Fault, Remedy, refused
from terrasynth.synthesis.verify.record import CheckedRun


def note_faults(run: CheckedRun, decisions: Decisions | None) -> Iterator[Fault]:
    """What is wrong with notes; those of a run that has not ended may be of other filters than its last decisions.

    Args:
        decisions: None where they cannot be read.
    """
    ended = (run.root / layout.FINISHED).is_file()
    files = {path.name: path for path in layout.note_files(run.root).values()}
    for name in sorted(layout.names_in(layout.notes_folder(run.root))):
        path = layout.notes_folder(run.root) / name
        if name not in files:
            if not name.endswith(TEMPORARY) and path.is_file():
                yield Fault(run.relative(path), "no file of this run", Remedy.MOVE)
            continue
        run.count("notes of decisions")
        try:
            _, noted = read_notes(path)
        except RefusedError as error:
            yield refused(run.relative(path), error)
            continue
        except RecordError as error:
            yield Fault(run.relative(path), f"cannot be believed ({one_line(error, 160)})", Remedy.MOVE)
            continue
        known = decisions.classes if decisions is not None and ended else {}
        wrong = (found for each in noted if each.label in known for found in _other(each, known[each.label]))
        if (attempt := next(wrong, None)) is not None:
            yield Fault(run.relative(path), f"says of {attempt} what {layout.DECISIONS} does not", Remedy.MOVE)


def _other(noted: NotedBlocks, decided: RecordedDecisions) -> Iterator[str]:
    """The attempts that one accepted and the other rejected; of what one does not judge it says nothing."""
    codes = np.frombuffer(bytes.fromhex(noted.codes), np.int8)
    start = noted.first * (len(codes) // noted.blocks)
    recorded = np.frombuffer(decided.judgements, np.int8)[start : start + len(codes)]
    own = judgement_of(codes[: len(recorded)])
    for place in np.flatnonzero(own * recorded < 0).tolist():
        yield f"attempt {start + place} of class {noted.label!r}"
