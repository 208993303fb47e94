"""The executor of one process: draws in the foreground; encodes, measures and writes behind it where that pays.

It pays where something else than the CPU draws. On a CPU the drawing itself computes on all cores, and a block is
finished before the next one is begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

from typing_extensions import override

from terrasynth.synthesis.execution.base import BlockOrder, Executor, ExecutorSetup, MadeBlock
from terrasynth.synthesis.execution.drawn import DrawnBlock
from terrasynth.synthesis.generators.runtime import set_threads
from terrasynth.synthesis.ledger.stored import StoredBlock

DEPTH = 2  # blocks that may be unfinished while the next one is drawn; a kill costs these and the one being drawn


class LocalExecutor(Executor):
    """Makes blocks in this process.

    Args:
        setup: What makes them.
    """

    depth = DEPTH
    ahead = False

    def __init__(self, setup: ExecutorSetup) -> None:
        self._maker, self._tell = setup.maker, setup.tell
        runtime = setup.maker.runtime
        # One thread: filters' models are no more thread-safe than their libraries.
        # It counts its threads by itself, so it is told the run's number as well.
        self._behind = (
            ThreadPoolExecutor(1, initializer=set_threads, initargs=(runtime.threads,))
            if runtime.accelerated else None
        )

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._behind is not None:
            self._behind.shutdown(wait=True, cancel_futures=True)

    @override
    def submit(self, order: BlockOrder) -> Future[MadeBlock]:
        blocks, start = self._maker.blocks, time.perf_counter()
        # What another executor made ahead is needed now.
        if blocks.exists(order.label, order.index) or blocks.take(order.label, order.index):
            known = StoredBlock.found(blocks, order.label, order.index)
            return self._run(partial(self._measured, known, order.closed, start))
        block = self._maker.draw(order.label, order.index, on_drawing=self._tell)
        return self._run(partial(self._stored, block, time.perf_counter() - start))

    def _run(self, work: Callable[[], MadeBlock]) -> Future[MadeBlock]:
        if self._behind is not None:
            return self._behind.submit(work)
        now: Future[MadeBlock] = Future()
        now.set_result(work())
        return now

    def _stored(self, block: DrawnBlock, drawing: float) -> MadeBlock:
        start = time.perf_counter()
        stored = self._measured(self._maker.store(block), False, start)
        return MadeBlock(stored.stored, len(block.prompts), drawing + stored.seconds)

    def _measured(self, block: StoredBlock, closed: bool, start: float) -> MadeBlock:
        """Measure what the decision will ask for, in the one thread that measures."""
        if self._behind is not None and not closed:
            self._maker.measure(block)
        return MadeBlock(block, 0, time.perf_counter() - start)
