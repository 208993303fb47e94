"""The executor of one process: draws in the foreground; encodes, measures and writes behind it where that pays.

It pays where something else than the CPU draws. On a CPU the drawing itself computes on all cores, and a block is
finished before the next one is begun.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

from typing_extensions import override

from terrasynth.synthesis.execution.base import BlockOrder, Executor, MadeBlock
from terrasynth.synthesis.execution.block_maker import BlockMaker
from terrasynth.synthesis.execution.drawn import DrawnBlock
from terrasynth.synthesis.generators.runtime import set_threads
from terrasynth.synthesis.ledger.stored import StoredBlock

DEPTH = 2  # blocks that may be unfinished while the next one is drawn; a kill costs these and the one being drawn


class LocalExecutor(Executor):
    """Makes blocks in this process.

    Args:
        maker: Makes them.
    """

    depth = DEPTH

    def __init__(self, maker: BlockMaker) -> None:
        self._maker = maker
        # One thread: filters' models are no more thread-safe than their libraries.
        # It counts its threads by itself, so it is told the run's number as well.
        self._behind = (
            ThreadPoolExecutor(1, initializer=set_threads, initargs=(maker.runtime.threads,))
            if maker.runtime.accelerated else None
        )

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._behind is not None:
            self._behind.shutdown(wait=True, cancel_futures=True)

    @override
    def submit(self, order: BlockOrder) -> MadeBlock:
        blocks = self._maker.blocks
        if blocks.exists(order.label, order.index):
            blocks.read(order.label, order.index, ["id"])
            known = StoredBlock(blocks, order.label, order.index)
            return MadeBlock(self._run(partial(self._measured, known, order.closed)), 0)
        block = self._maker.draw(order.label, order.index)
        return MadeBlock(self._run(partial(self._stored, block)), len(block.prompts))

    def _run(self, work: Callable[[], StoredBlock]) -> Future[StoredBlock]:
        if self._behind is not None:
            return self._behind.submit(work)
        now: Future[StoredBlock] = Future()
        now.set_result(work())
        return now

    def _stored(self, block: DrawnBlock) -> StoredBlock:
        return self._measured(self._maker.store(block), False)

    def _measured(self, block: StoredBlock, closed: bool) -> StoredBlock:
        """Measure what the decision will ask for, in the one thread that measures."""
        if self._behind is not None and not closed:
            self._maker.measure(block)
        return block
