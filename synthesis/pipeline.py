"""The whole flow: a recipe becomes prompts, images, measurements, decisions, and a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from terrasynth.synthesis.cards.card import write_card
from terrasynth.synthesis.cards.run_report import drawn_unread, write_run_report
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import LeftOut
from terrasynth.synthesis.core.files import looking, remove_empty_folders
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.events import Event, Finished, Listener, Planned, RunResult, Writing
from terrasynth.synthesis.execution.base import ExecutorSetup
from terrasynth.synthesis.execution.deciding import BlockWork
from terrasynth.synthesis.execution.executors import open_executor
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.filters.base import looser_options
from terrasynth.synthesis.ledger.decision_table import write_decisions
from terrasynth.synthesis.ledger.decisions import ClassDecisions
from terrasynth.synthesis.ledger.finished import (
    asked_for,
    finished_counts,
    forget_finished,
    note_finished,
    written_hashes,
)
from terrasynth.synthesis.ledger.judged_rows import REVIEW, JudgedRows
from terrasynth.synthesis.ledger.shards import write_shards
from terrasynth.synthesis.recipe import Recipe


def run(
    recipe: Recipe,
    out: str | Path,
    on_event: Listener | None = None,
    should_stop: Callable[[], bool] | None = None,
    shrink: bool = False,
) -> RunResult:
    """Make the data set of a recipe, or carry on with it: the same call resumes, grows and judges again.

    Args:
        on_event: Is told what happens, as typed events.
        should_stop: Is asked between blocks; True ends the run early with what is there.
        shrink: Give up what the run has beyond a target that is smaller than before; without it nothing that a run
            has is taken away by a smaller target.

    Returns:
        How it ended; `missed` names the classes short of their target.

    Raises:
        InputError: Something the user has to correct; nothing was written.
        RunError: Disk full, a damaged block, out of memory; finished blocks are kept.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, run
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> recipe = Recipe.load("demo", small)
        >>> with TemporaryDirectory() as folder:
        ...     run(recipe, folder).accepted, run(recipe, folder).drawn  # the second call finds all it needs
        (1, 0)
    """
    tell: Callable[[Event], None] = on_event or (lambda event: None)
    stop = should_stop or (lambda: False)
    root = place(out)
    with looking(root):
        job = Job(recipe, root, shrink)
    with job.opened():
        classes = [
            ClassDecisions(label, job.encoders.judges(label, job.root), *job.target_of(label)) for label in job.classes
        ]
        asked = asked_for(job, classes)
        tell(Planned(job.identity.hash, tuple(c.count for c in classes), recipe.target.max_attempts, job.blocks.any(),
                     job.notes))
        work, counts, stopped = BlockWork(job, classes, tell), finished_counts(job, asked), False
        if counts is None:
            forget_finished(job)
            stopped = _make(job, work, stop)
            written = _write_results(job, classes, tell)
            counts = tuple(each.count for each in classes)
            if not stopped and not work.failed:
                note_finished(job, asked, counts, written)
        unseen = JudgedRows.read(job.root).unseen if REVIEW in recipe.filter_names else 0
        short = {count.label for count in counts if count.short}
        rejected = JudgedRows.read(job.root).rejected(short) if short else {}
        nearest = {each.label: JudgedRows.read(job.root).nearest(each.label, each.thresholds)
                   for each, count in zip(classes, counts, strict=True) if count.short and not count.accepted}
        far = tuple(each.label for each in classes
                    if each.label in nearest and JudgedRows.read(job.root).far(each.label, each.thresholds))
        looser = {name: [f"filters.{place}.{option}" for option in looser_options(each)]
                  for place, (name, each) in enumerate(zip(recipe.filter_names, recipe.filters, strict=True))}
    result = RunResult(job.root, job.identity.hash, counts, work.drawn, stopped, work.ahead, tuple(work.failed), unseen,
                       rejected, nearest, looser, far,
                       layout.count_blocks(layout.ahead(job.root)) * job.blocks.block_size)
    tell(Finished(result))
    return result


def _make(job: Job, work: BlockWork, stop: Callable[[], bool]) -> bool:
    """Draw and decide until every class is done or a stop is asked for; returns whether it was stopped."""
    with open_executor(ExecutorSetup(job.root, job.maker, work.tell, job.traveling_prompts)) as executor:
        stopped = work.make(executor, stop)
    work.finish()
    remove_empty_folders(layout.ahead(job.root))
    return stopped


def _write_results(job: Job, classes: list[ClassDecisions], tell: Callable[[Event], None]) -> dict[str, str]:
    """Write decisions, data set, report and card; returns the hashes of the files of the first two."""
    tell(Writing("decisions"))
    write_decisions(job.root / layout.DECISIONS, classes, job.recipe.filter_names, job.attempt_id)
    tell(Writing("data"))
    left_out = LeftOut()
    write_shards(job, classes, left_out)
    written = written_hashes(job.root)
    tell(Writing("report"))
    unread = drawn_unread(job, classes)
    write_run_report(job, classes, left_out, unread)
    tell(Writing("card"))
    write_card(job, classes, written, left_out, unread)
    return written
