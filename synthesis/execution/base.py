"""Where blocks are made: the seam between a run, which decides, and whatever draws for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.events import BlockFailed, Event
from terrasynth.synthesis.ledger.stored import StoredBlock

if TYPE_CHECKING:
    from terrasynth.synthesis.execution.block_maker import BlockMaker, Prompts


@dataclass(frozen=True)
class BlockOrder:
    """One block to be made, or to be measured where it exists. Plain data, so that a process elsewhere can take it.

    Attributes:
        index: Place of the block in its class.
        closed: The class has what it wants, so that nothing has to be measured.
    """

    label: str
    index: int
    closed: bool = False


@dataclass(frozen=True)
class MadeBlock:
    """A block that is on disk, and measured where that pays.

    Attributes:
        stored: The block, in its place in the ledger or among those that were made ahead.
        drawn: Images that were drawn for it; 0 where it existed.
        seconds: What it took.
        worker: Number of the process that made it, from 0; None for this one.
    """

    stored: StoredBlock
    drawn: int
    seconds: float
    worker: int | None = None


class BlockFailedError(RunError):
    """A block could not be made, several times. The run goes on without the rest of its class.

    Attributes:
        failed: Which, and how.
    """

    def __init__(self, failed: BlockFailed) -> None:
        self.failed = failed
        super().__init__(f"block {failed.index} of class {failed.label!r} failed {len(failed.reasons)} times "
                         f"({failed.reasons[-1]}); run the same command again, and look at its worker's machine if it "
                         "fails again")


class Executor(Protocol):
    """Makes blocks. In which order they are finished decides nothing: a class is decided on in the order of its blocks.

    A plug-in is registered under the entry-point group `terrasynth.executors`, as what makes one from an
    `ExecutorSetup`; `runtime.executor` is then its name.

    Attributes:
        depth: Orders that may be unfinished while the next one is begun.
        ahead: Whether a block may be ordered before it is known that it is needed. Such an executor draws into
            `Blocks.ahead()`, and never into the ledger itself.
    """

    depth: int
    ahead: bool

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Wait for what is being written; after an error, leave the rest undone."""

    def submit(self, order: BlockOrder) -> Future[MadeBlock]:
        """Make a block, or have it made.

        Raises:
            RunError: The block exists and is damaged, or not even one image fits into memory; here or by the future,
                which also ends with `BlockFailedError`.
        """


@dataclass(frozen=True)
class ExecutorSetup:
    """What an executor is made from.

    Attributes:
        root: The run directory; another process gets the rest from it, by `BlockMaker.open`.
        maker: Makes blocks in this process. `maker.recipe.runtime` has the settings.
        tell: Is told what happens to workers; from any thread.
        prompts: Writes prompts that have to travel with an order, because writing them costs something or depends on
            those before; None where any process may write them.
    """

    root: Path
    maker: BlockMaker
    tell: Callable[[Event], None]
    prompts: Prompts | None = None
