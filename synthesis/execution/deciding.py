"""Blocks ordered one after another, and decided on in that order, whatever is finished first."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from terrasynth.synthesis.events import BlockDone, ClassDone, Event
from terrasynth.synthesis.execution.base import BlockOrder, Executor, MadeBlock
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.ledger.decisions import ClassDecisions


@dataclass(frozen=True)
class _PendingBlock:
    decided: ClassDecisions
    index: int
    made: MadeBlock
    seconds: float


class BlockWork:
    """Orders blocks of an executor and decides on them.

    Args:
        job: The recipe, resolved.
        executor: Makes the blocks.
        tell: Is told of each block and class that is done.

    Attributes:
        drawn: Images drawn so far.
    """

    def __init__(self, job: Job, executor: Executor, tell: Callable[[Event], None]) -> None:
        self.drawn = 0
        self._job, self._executor, self._tell = job, executor, tell
        self._waiting: deque[_PendingBlock] = deque()

    def advance(self, decided: ClassDecisions) -> None:
        """Begin the next block of a class whose earlier ones are decided on; decide on what is finished meanwhile."""
        start = time.perf_counter()
        made = self._executor.submit(BlockOrder(decided.label, decided.blocks, decided.closed))
        self.drawn += made.drawn
        self._waiting.append(_PendingBlock(decided, decided.blocks, made, time.perf_counter() - start))
        while self._waiting and (len(self._waiting) > self._executor.depth or self._waiting[0].made.stored.done()):
            self._decide_on_first()

    def settle(self, decided: ClassDecisions | None = None) -> None:
        """Decide on the blocks of a class that are on their way, or of all."""
        while any(decided in (None, each.decided) for each in self._waiting):
            self._decide_on_first()

    def unfinished(self, decided: ClassDecisions) -> bool:
        """Whether a class has a further block to be made or decided on."""
        # Blocks beyond the target exist after a filter or a target was loosened: their attempts get a row all the same.
        return not decided.done or self._job.blocks.exists(decided.label, decided.blocks)

    def _decide_on_first(self) -> None:
        first, start = self._waiting.popleft(), time.perf_counter()
        job, decided = self._job, first.decided
        block = first.made.stored.result()
        decided.decide(job.blocks.block_size, partial(job.encoders.of_block, block), block.withheld)
        self._tell_of(first, first.seconds + time.perf_counter() - start)

    def _tell_of(self, block: _PendingBlock, seconds: float) -> None:
        verdicts = tuple(each.reason for each in block.decided.block(block.index))
        self._tell(BlockDone(block.decided.count, block.index, block.made.drawn, seconds, verdicts))
        if not self.unfinished(block.decided):
            self._tell(ClassDone(block.decided.count))
