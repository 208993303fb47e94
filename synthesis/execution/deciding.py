"""Blocks ordered one after another; a class is decided on in the order of its blocks, whatever is finished first."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, partial
from queue import SimpleQueue
from threading import get_ident
from typing import TYPE_CHECKING

from terrasynth.synthesis.events import BlockAhead, BlockDone, BlockFailed, ClassDone, Event
from terrasynth.synthesis.execution.base import BlockFailedError, BlockOrder, Executor, MadeBlock
from terrasynth.synthesis.execution.scheduling import Schedule
from terrasynth.synthesis.ledger.decisions import ClassDecisions
from terrasynth.synthesis.ledger.noted import DecisionNotes
from terrasynth.synthesis.ledger.stored import StoredBlock

if TYPE_CHECKING:
    from terrasynth.synthesis.execution.job import Job


@dataclass(frozen=True)
class _PendingBlock:
    decided: ClassDecisions
    index: int
    made: Future[MadeBlock]


class BlockWork:
    """Orders blocks of an executor and decides on them.

    Attributes:
        drawn: Images drawn so far.
        ahead: Images of these that turned out not to be needed.
        failed: Blocks that could not be made.
    """

    def __init__(self, job: Job, classes: Sequence[ClassDecisions], tell: Callable[[Event], None]) -> None:
        """Begin with nothing ordered.

        Args:
            classes: Its classes, in the order of the data set.
            tell: Is told of each block and class that is done.
        """
        self.drawn, self.ahead, self.failed = 0, 0, list[BlockFailed]()
        self._job, self._classes, self._tell, self._thread = job, classes, tell, get_ident()
        self._pending: dict[str, deque[_PendingBlock]] = {each.label: deque() for each in classes}
        self._unneeded: list[_PendingBlock] = []
        self._unfinished = 0  # orders; a block that is finished waits for those before it, but no worker with it
        # Labels of classes of which a block is finished, and what other threads have to tell.
        self._news: SimpleQueue[str | Event] = SimpleQueue()

    @cached_property
    def _notes(self) -> DecisionNotes:
        return DecisionNotes(self._job, self._classes)  # read by a run that has something to do

    def tell(self, event: Event) -> None:
        """Tell the listener, in the thread of the run: at once from there, and as soon as it listens from any other."""
        if get_ident() == self._thread:
            self._tell(event)
        else:
            self._news.put(event)

    def make(self, executor: Executor, stop: Callable[[], bool]) -> bool:
        """Make and decide on blocks until every class is done or a stop is asked for.

        Args:
            executor: Makes the blocks, and is entered.
            stop: Is asked before each block that would be begun.

        Returns:
            Whether it was stopped.
        """
        ended = self._take_over()
        schedule, stopped = Schedule(self._classes, self._job.blocks, executor.ahead), False
        for each in ended:
            schedule.leave(each)
        while True:
            decided = None
            if not stopped and self._unfinished <= executor.depth:
                decided = schedule.next()
                stopped = decided is not None and stop()
                if stopped and executor.ahead:
                    self._cancel(schedule)
            if decided is not None and not stopped:
                self._begin(executor, schedule, decided)
            elif not any(self._pending.values()):
                break
            self._listen(schedule, wait=decided is None or stopped)
        return stopped

    def finish(self) -> None:
        """Count what was begun in vain; to be called when the executor has ended."""
        for each in self._unneeded:
            if each.made.cancelled() or each.made.exception() is not None:
                continue
            made = each.made.result()
            self.drawn += made.drawn
            self.ahead += made.drawn
            self._tell(BlockAhead(each.decided.label, each.index, made.drawn, made.worker))
        self._unneeded.clear()
        while not self._news.empty():
            if not isinstance(news := self._news.get(), str):
                self._tell(news)

    def _take_over(self) -> list[ClassDecisions]:
        """Take over what was noted of decisions by earlier processes; returns the classes that have ended by that."""
        ended, blocks = [], self._job.blocks
        for decided in filter(lambda each: self._notes.of(each.label), self._classes):
            # What a threshold is taken from is read: a note holds for the same thresholds alone.
            while decided.filters and not decided.decided and blocks.exists(decided.label, decided.blocks):
                start, block = time.perf_counter(), StoredBlock.found(blocks, decided.label, decided.blocks)
                self._decide(decided, block)
                self._tell_of(decided, range(block.index, decided.blocks), 0, time.perf_counter() - start, None)
            for taken in self._notes.take(decided):
                self._tell_of(decided, taken, 0, 0.0, None)
            if decided.done and not blocks.exists(decided.label, decided.blocks):
                self._tell(ClassDone(decided.count))
                ended.append(decided)
        return ended

    def _begin(self, executor: Executor, schedule: Schedule, decided: ClassDecisions) -> None:
        label, index = decided.label, decided.blocks + schedule.begun[decided.label]
        made = executor.submit(BlockOrder(label, index, decided.closed))
        self._unfinished += 1
        schedule.begun[label] += 1
        self._pending[label].append(_PendingBlock(decided, index, made))
        made.add_done_callback(lambda _: self._news.put(label))

    def _listen(self, schedule: Schedule, wait: bool) -> None:
        """Take in what is new, and wait for it where there is nothing else to do."""
        while wait or not self._news.empty():
            news, wait = self._news.get(), False
            if not isinstance(news, str):
                self._tell(news)
                continue
            self._unfinished -= 1
            pending = self._pending[news]
            while pending and pending[0].made.done():
                self._decide_on_first(schedule, pending)

    def _decide_on_first(self, schedule: Schedule, pending: deque[_PendingBlock]) -> None:
        first, start = pending.popleft(), time.perf_counter()
        decided, job = first.decided, self._job
        schedule.begun[decided.label] -= 1
        try:
            made = first.made.result()
        except BlockFailedError as error:
            self.failed.append(error.failed)
            self._tell(error.failed)
            schedule.leave(decided)
            self._drop(schedule, pending)
            return
        block = made.stored
        if block.blocks.root != job.blocks.root:
            job.blocks.take(decided.label, first.index)
            block = StoredBlock(job.blocks, decided.label, first.index, block.measured)
        self._decide(decided, block)
        self.drawn += made.drawn
        seconds = made.seconds + time.perf_counter() - start
        self._tell_of(decided, range(first.index, first.index + 1), made.drawn, seconds, made.worker)
        self._notes.decided(decided)
        if decided.done and not job.blocks.exists(decided.label, decided.blocks):
            self._tell(ClassDone(decided.count))
            schedule.leave(decided)
            self._drop(schedule, pending)

    def _decide(self, decided: ClassDecisions, block: StoredBlock) -> None:
        job = self._job
        decided.decide(job.blocks.block_size, partial(job.encoders.of_block, block), block.withheld)

    def _tell_of(self, decided: ClassDecisions, blocks: range, drawn: int, seconds: float, worker: int | None) -> None:
        """Tell of blocks on which was decided, at once or one of them."""
        count = decided.count
        for index in blocks:
            self._tell(BlockDone(count, index, drawn, seconds, decided.verdicts(index), worker))

    def _cancel(self, schedule: Schedule) -> None:
        """Take back what was ordered last of each class and no worker has begun."""
        for label, pending in self._pending.items():
            while pending and pending[-1].made.cancel():
                pending.pop()
                schedule.begun[label] -= 1

    def _drop(self, schedule: Schedule, pending: deque[_PendingBlock]) -> None:
        """Leave what was begun of a class that has ended; what no worker has begun is not made."""
        for each in pending:
            schedule.begun[each.decided.label] -= 1
            if not each.made.cancel():
                self._unneeded.append(each)
        pending.clear()
