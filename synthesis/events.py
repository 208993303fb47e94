"""What a run tells whoever listens, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClassCount:
    """How far a class is.

    Attributes:
        attempted: Attempts judged; those after the last one needed do not count.
    """

    label: str
    attempted: int
    accepted: int
    target: int


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        identity: Hash of what decides its images.
        counts: One per class, in the order of the data set.
        drawn: Images drawn by this call; 0 when everything was there.
        stopped: Whether `should_stop` ended it before its targets.
    """

    root: Path
    identity: str
    counts: tuple[ClassCount, ...]
    drawn: int
    stopped: bool

    @property
    def missed(self) -> tuple[ClassCount, ...]:
        """The classes with fewer accepted attempts than wanted."""
        return tuple(count for count in self.counts if count.accepted < count.target)

    @property
    def accepted(self) -> int:
        """Rows of the data set."""
        return sum(count.accepted for count in self.counts)


@dataclass(frozen=True)
class Planned:
    """Everything was checked; work begins.

    Attributes:
        identity: Hash of what decides the images.
        counts: One per class, nothing judged yet.
        max_attempts: Most attempts of a class.
        resumed: Whether the run directory held blocks.
        notes: What a user should know before the first image, a sentence each.
    """

    identity: str
    counts: tuple[ClassCount, ...]
    max_attempts: int
    resumed: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlockDone:
    """A block was drawn, or found, and judged.

    Attributes:
        count: How far its class is now.
        index: The block's place in its class, from 0.
        drawn: Images drawn for it; 0 when it was there.
        verdicts: One per attempt of the block, in order: None for accepted, else the reason (`Decision.reason`).
    """

    count: ClassCount
    index: int
    drawn: int
    seconds: float
    verdicts: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class ClassDone:
    """A class reached its target, or its last attempt."""

    count: ClassCount


@dataclass(frozen=True)
class Writing:
    """Everything is judged; a part of the result is being written ("decisions", "data", "report", "card")."""

    part: str


@dataclass(frozen=True)
class Finished:
    """The run ended and its files are written."""

    result: RunResult


Event = Planned | BlockDone | ClassDone | Writing | Finished
Listener = Callable[[Event], None]
