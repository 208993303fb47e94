"""Is a run whole? Every block, score, decision, row, page and image is read and compared; nothing is written.

Everything streams: one block of each class is in memory, and some twenty bytes of every decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from terrasynth.synthesis.core.files import reading
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.export.marker import MARKER
from terrasynth.synthesis.verify.blocks import block_faults, layout_faults, score_faults
from terrasynth.synthesis.verify.data import data_faults, hash_faults, read_decisions
from terrasynth.synthesis.verify.exports import export_faults
from terrasynth.synthesis.verify.faults import Fault
from terrasynth.synthesis.verify.noted import note_faults
from terrasynth.synthesis.verify.pages import card_faults, other_record_faults, report_faults
from terrasynth.synthesis.verify.record import CheckedRun, read_record
from terrasynth.synthesis.verify.review import review_faults
from terrasynth.words import counted

ONE = {"hashes": "hash", "lines of review": "line of review", "files of scores": "file of scores",
       "notes of decisions": "note of decisions"}
"""How what was looked at is called where it is one."""


@dataclass
class Verification:
    """What was looked at, once all faults were taken.

    Attributes:
        counts: How much, by name.
        notes: What is no fault and has to be known, a sentence each, as that verdicts are not taken in yet.
    """

    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The counts on one line."""
        return ", ".join(counted(count, ONE.get(name, name.removesuffix("s")), name)
                         for name, count in self.counts.items())


def verify(root: str | Path, fast: bool = False, into: Verification | None = None) -> Iterator[Fault]:
    """Look for everything that can be wrong with a run directory, or with an export of one.

    Args:
        root: The run directory, or the folder of an export.
        fast: Leave out what costs most: decoding images, and comparing rows and bytes with what they should be.
        into: Gets what was looked at.

    Yields:
        The faults, in the order in which a repair would go.

    Raises:
        InputError: No run there, or a process is at work on it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, run, verify
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> recipe = Recipe.load("demo", small)
        >>> with TemporaryDirectory() as folder:
        ...     root = run(recipe, folder).root
        ...     list(verify(root))
        ...     (root / "data" / "train-00000.parquet").unlink()
        ...     [fault.file for fault in verify(root)]
        []
        ['data/train-00000.parquet']
    """
    root = place(root)
    with reading(root):
        if (root / MARKER).is_file():
            looked = into if into is not None else Verification()
            yield from export_faults(root, looked.counts)
            return
        run, faults = read_record(root)
        yield from faults
        if run is None:
            return
        if into is not None:
            into.counts, into.notes = run.counts, run.notes
        named = set[str]()
        for fault in _all_faults(run, fast, named):
            named.add(fault.file)
            yield fault


def _all_faults(run: CheckedRun, fast: bool, named: Collection[str]) -> Iterator[Fault]:
    """The faults of a run; `named` is the files that have had one by now."""
    yield from layout_faults(run)
    yield from block_faults(run, fast)
    decisions, faults = read_decisions(run)
    yield from faults
    yield from score_faults(run)
    yield from note_faults(run, decisions)
    yield from other_record_faults(run)
    yield from review_faults(run, decisions is not None)
    if decisions is not None:
        yield from data_faults(run, decisions, fast)
        yield from card_faults(run, decisions, fast)
        yield from report_faults(run, decisions, fast)
    yield from run.later
    # a file that differs from its hash was most likely named with a better reason before
    yield from (fault for fault in hash_faults(run, decisions, fast) if fault.file not in named)
