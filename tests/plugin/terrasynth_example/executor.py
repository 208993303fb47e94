"""The `timed` executor: blocks are made in this process, and how long each took is noted beside the run."""

from __future__ import annotations

import time
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from terrasynth.synthesis.execution.base import BlockOrder, ExecutorSetup, MadeBlock
from terrasynth.synthesis.execution.block_maker import BlockMaker
from terrasynth.synthesis.ledger.stored import StoredBlock


class TimedExecutor:
    """`runtime: {executor: timed}`. One that sends its orders elsewhere needs `BlockMaker.open` there, and no more.

    Attributes:
        depth: None, since a block is finished before the next is ordered.
        ahead: False, since no block is ordered that may not be needed.
    """

    depth = 0
    ahead = False

    def __init__(self, setup: ExecutorSetup) -> None:
        self._maker: BlockMaker = setup.maker
        self._note = setup.root.with_name(f"{setup.root.name}-seconds.txt")

    def __enter__(self) -> Self:
        """There is nothing to begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """There is nothing to wait for."""

    def submit(self, order: BlockOrder) -> Future[MadeBlock]:
        """Make a block now, unless it exists."""
        blocks, start, drawn = self._maker.blocks, time.perf_counter(), 0
        # One that another executor made before it was needed is taken as it is.
        if blocks.exists(order.label, order.index) or blocks.take(order.label, order.index):
            stored = StoredBlock(blocks, order.label, order.index)
        else:
            block = self._maker.draw(order.label, order.index)
            stored, drawn = self._maker.store(block), len(block.prompts)
        made: Future[MadeBlock] = Future()
        made.set_result(MadeBlock(stored, drawn, time.perf_counter() - start))
        with self._note.open("a") as note:
            note.write(f"{order.label} {order.index} {made.result().seconds:.3f}\n")
        return made
