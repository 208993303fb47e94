"""Where blocks are made: the seam between a run, which decides, and whatever draws for it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from terrasynth.synthesis.ledger.stored import StoredBlock


@dataclass(frozen=True)
class BlockOrder:
    """One block to be made, or to be measured where it exists. Plain data, so that a process elsewhere can take it.

    Attributes:
        label: Class of the attempts.
        index: Place of the block in its class.
        closed: The class has what it wants, so that nothing has to be measured.
    """

    label: str
    index: int
    closed: bool = False


@dataclass(frozen=True)
class MadeBlock:
    """A block on its way.

    Attributes:
        stored: Done when the block is on disk, and measured where that pays.
        drawn: Images that were drawn for it; 0 where it existed.
    """

    stored: Future[StoredBlock]
    drawn: int


class Executor(Protocol):
    """Makes blocks. In which order they are finished decides nothing: a run decides in the order of its orders.

    Attributes:
        depth: Orders that may be unfinished while the next one is begun.
    """

    depth: int

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Wait for what is being written; after an error, leave the rest undone."""

    def submit(self, order: BlockOrder) -> MadeBlock:
        """Make a block, or have it made.

        Raises:
            RunError: The block exists and is damaged, or not even one image fits into memory.
        """
