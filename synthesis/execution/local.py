"""Blocks on their way: drawn in the foreground, encoded, measured and written behind it where that pays.

It pays where something else than the CPU draws. On a CPU the drawing itself computes on all cores, and a block is
finished before the next one is begun.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from terrasynth.synthesis.events import BlockDone, ClassDone, Event
from terrasynth.synthesis.execution.drawn import DrawnBlock
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.generators.runtime import set_threads
from terrasynth.synthesis.ledger.decisions import ClassDecisions
from terrasynth.synthesis.ledger.stored import StoredBlock

DEPTH = 2  # blocks that may be unfinished while the next one is drawn; a kill costs these and the one being drawn


@dataclass(frozen=True)
class _PendingBlock:
    decided: ClassDecisions
    index: int
    drawn: int
    stored: Future[StoredBlock]
    seconds: float


class BlockWork:
    """Makes blocks and decides on them in the order in which they were begun, whatever is finished first.

    Attributes:
        drawn: Pictures drawn so far.
    """

    def __init__(self, job: Job, tell: Callable[[Event], None]) -> None:
        self.drawn = 0
        self._job = job
        self._tell = tell
        self._waiting: deque[_PendingBlock] = deque()
        # One thread: filters' models are no more thread-safe than their libraries.
        # It counts its threads by itself, so it is told the run's number as well.
        self._behind = (
            ThreadPoolExecutor(1, initializer=set_threads, initargs=(job.runtime.threads,))
            if job.runtime.accelerated else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Wait for the block that is being written; after an error, leave the others undone."""
        if self._behind is not None:
            self._behind.shutdown(wait=True, cancel_futures=True)

    def advance(self, decided: ClassDecisions) -> None:
        """Begin the next block of a class whose earlier ones are decided on; decide on what is finished meanwhile."""
        start, label, index = time.perf_counter(), decided.label, decided.blocks
        job, drawn = self._job, 0
        if job.blocks.exists(label, index):
            job.blocks.read(label, index, ["id"])
            stored = self._run(partial(self._finish, StoredBlock(job.blocks, label, index), decided.closed))
        else:
            block = job.draw(label, index)
            drawn = len(block.prompts)
            stored = self._run(partial(self._store, block))
        self.drawn += drawn
        self._waiting.append(_PendingBlock(decided, index, drawn, stored, time.perf_counter() - start))
        while self._waiting and (len(self._waiting) > DEPTH or self._waiting[0].stored.done()):
            self._decide_on_first()

    def settle(self, decided: ClassDecisions | None = None) -> None:
        """Decide on the blocks of a class that are on their way, or of all."""
        while any(decided in (None, each.decided) for each in self._waiting):
            self._decide_on_first()

    def unfinished(self, decided: ClassDecisions) -> bool:
        """Whether a class has a further block to be made or decided on."""
        # Blocks beyond the target exist after a filter or a target was loosened: their attempts get a row all the same.
        return not decided.done or self._job.blocks.exists(decided.label, decided.blocks)

    def _run(self, work: Callable[[], StoredBlock]) -> Future[StoredBlock]:
        if self._behind is not None:
            return self._behind.submit(work)
        now: Future[StoredBlock] = Future()
        now.set_result(work())
        return now

    def _store(self, block: DrawnBlock) -> StoredBlock:
        return self._finish(self._job.store(block), False)

    def _finish(self, block: StoredBlock, closed: bool) -> StoredBlock:
        """Measure what the decision will ask for, in the one thread that measures."""
        if self._behind is not None and not closed:
            for key in self._job.encoders.keys:
                self._job.encoders.of_block(block, key)
        return block

    def _decide_on_first(self) -> None:
        first, start = self._waiting.popleft(), time.perf_counter()
        job, decided = self._job, first.decided
        block = first.stored.result()
        decided.decide(job.blocks.block_size, partial(job.encoders.of_block, block), block.withheld)
        self._tell_of(decided, first.index, first.drawn, first.seconds + time.perf_counter() - start)

    def _tell_of(self, decided: ClassDecisions, index: int, drawn: int, seconds: float) -> None:
        self._tell(BlockDone(decided.count, index, drawn, seconds))
        if not self.unfinished(decided):
            self._tell(ClassDone(decided.count))
