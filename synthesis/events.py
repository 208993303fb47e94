"""What a run tells whoever listens, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from terrasynth.eval.table import Table
from terrasynth.words import counted


@dataclass(frozen=True)
class ClassCount:
    """How far a class is.

    Attributes:
        label: The class.
        attempted: Attempts that count, judged or waiting; those after the last one needed do not.
        accepted: Attempts that every filter passed.
        target: Accepted attempts that are asked for.
        waiting: Attempts that every filter passed but `review`, which waits for somebody to look at them.
    """

    label: str
    attempted: int
    accepted: int
    target: int
    waiting: int = 0

    @property
    def judged(self) -> int:
        """Attempts on which everything has decided that decides."""
        return self.attempted - self.waiting

    @property
    def short(self) -> bool:
        """Whether the class is short of its target even if all that wait are accepted."""
        return self.accepted + self.waiting < self.target


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        root: The run directory.
        identity: Hash of what decides its images.
        counts: One per class, in the order of the data set.
        drawn: Images drawn by this call; 0 when everything was there.
        stopped: Whether `should_stop` ended it before its targets.
        ahead: Images that this call drew before it was known that they are needed, and that are not: they are kept for
            a larger target, under `RUN/ahead/`.
        kept_ahead: Images that lie there now, whichever call drew them.
        failed: Blocks that could not be made; their classes end before them.
        unseen: Accepted images that nobody has looked at, where the recipe has the filter `review`.
        rejected: Images of classes that are short of their targets, by the filter that rejected them.
        nearest: Of each class that nothing was accepted of: filter -> the score of the image that came nearest to being
            let pass, and the score that decides; without what was not known when this call found the run finished.
        looser: By the name of a filter, the settings that let more images pass, as "filters.0.min_score lower".
        far: Of these classes, those of which no score came near: more attempts will hardly help.
    """

    root: Path
    identity: str
    counts: tuple[ClassCount, ...]
    drawn: int
    stopped: bool
    ahead: int = 0
    failed: tuple[BlockFailed, ...] = ()
    unseen: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    nearest: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    looser: Mapping[str, Sequence[str]] = field(default_factory=dict)
    far: tuple[str, ...] = ()
    kept_ahead: int = 0

    @property
    def missed(self) -> tuple[ClassCount, ...]:
        """The classes with fewer accepted attempts than wanted."""
        return tuple(count for count in self.counts if count.accepted < count.target)

    @property
    def accepted(self) -> int:
        """Rows of the data set."""
        return sum(count.accepted for count in self.counts)

    @property
    def failure(self) -> str:
        """What became of blocks that could not be made, and what helps, on one line; "" where all could."""
        blocks = ", ".join(f"block {each.index} of {each.label} ({each.reasons[-1]})" for each in self.failed)
        return blocks and (f"{blocks} failed {len(self.failed[0].reasons)} times and was left out with the rest of its "
                           "class; run it again, with runtime.executor local to see more of it")

    def _repr_html_(self) -> str:
        rows = tuple((each.label, f"{each.accepted:,}", f"{each.target:,}", f"{each.attempted:,}")
                     for each in self.counts)
        state = "stopped before the targets were reached" if self.stopped else self.failure or f"{self.drawn:,} drawn"
        where = {"data set": self.root, "card": self.root / "README.md", "report": self.root / "report" / "index.html",
                 "images": f"{self.accepted:,} of {len(self.counts)} classes; {state}"}
        return (Table.of_settings(where).html()
                + Table(("class", "accepted", "target", "judged"), rows).html())

    def review_line(self, look: str, again: str) -> str:
        """Which images wait for a person to look at them, and what helps, on one line; "" where none does.

        Args:
            look: What shows them.
            again: What takes in what was said of them.
        """
        waiting = {count.label: count.waiting for count in self.counts if count.waiting}
        if not waiting:
            return ""
        total = sum(waiting.values())
        images = f"{counted(total, 'image')} {'waits' if total == 1 else 'wait'}"
        by_class = ", ".join(f"{label} {count}" for label, count in waiting.items())
        return f"{images} for review ({by_class}): {look} shows them, then {again} takes the verdicts in"

    def shortfall(self, max_attempts: int) -> str:
        """Which classes are short of their targets, whatever a review says, and what helps, on one line; "" if none is.

        Args:
            max_attempts: Most attempts of a class.
        """
        short = ", ".join(f"{count.label} ({count.accepted} of {count.target}{self._near(count.label)})"
                          for count in self.missed if count.short)
        return short and f"target missed by {short} after {max_attempts} attempts each{self._why_short()}"

    def _near(self, label: str) -> str:
        """How near the images of a class came that none was accepted of."""
        return "".join(f"; {name}: best score {score:.3g}, threshold {limit:.3g}"
                       for name, (score, limit) in self.nearest.get(label, {}).items())

    def _why_short(self) -> str:
        """What rejected the images of classes that are short, and what helps."""
        by = ", ".join(f"{name} ({count})" for name, count in sorted(self.rejected.items(), key=lambda each: -each[1]))
        said = f", rejected by {by}" if by else ""
        if self.accepted or not by or any(count.waiting for count in self.counts):
            more = "" if self._all_far else "raise target.max_attempts or "
            return f"{said}; {more}loosen a filter{self._options(' (', ')')}, and run again{self._hopeless()}"
        return (f"{said}. Nothing was accepted: look at what was rejected in the report; where it does not show its "
                "class, teach the generator (`terrasynth train lora`), where it does, loosen that filter"
                f"{self._options(' (', ')')}, and run again{self._hopeless()}")

    @property
    def _all_far(self) -> bool:
        """Whether more attempts will hardly help any class that is short."""
        return all(count.label in self.far for count in self.missed if count.short)

    def _options(self, before: str, after: str) -> str:
        """The settings of the filters that rejected images of classes that are short, with directions."""
        names = sorted(self.rejected, key=lambda name: -self.rejected[name])
        found = " or ".join(option for name in names for option in self.looser.get(name, ()))
        return found and before + found + after

    def _hopeless(self) -> str:
        """Which classes more attempts will hardly help."""
        if not self.far:
            return ""
        return (f"; more attempts will hardly help {', '.join(self.far)}: the scores lie further from the threshold "
                "than from one another")


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
class WorkerReady:
    """A process that makes blocks has loaded what it needs.

    Attributes:
        worker: Its number, from 0; one that takes the place of another has the number of that.
        workers: How many there are to be.
        process: Its process id.
        device: What it draws on.
    """

    worker: int
    workers: int
    process: int
    device: str


@dataclass(frozen=True)
class WorkerLost:
    """A process that makes blocks ended; another takes its place if that can be had.

    Attributes:
        worker: Its number, from 0.
        reason: How it ended.
        block: Class and number of the block that it was making; None while it was loading.
        final: It is not started again, and the others go on without it.
        again: Whether the block is made again; after several losses it is not.
    """

    worker: int
    reason: str
    block: tuple[str, int] | None
    final: bool = False
    again: bool = True


@dataclass(frozen=True)
class Drawing:
    """A block is being drawn. Told at most once a second, and of no block that takes less.

    Attributes:
        label: Its class.
        index: Its place in the class, from 0.
        images: Images of it.
        whole: Those that are drawn.
        step: Steps so far of those that are being drawn now; tokens of a generator of tokens.
        steps: Steps of an image.
        worker: Number of the process that makes it, from 0; None for this process.
    """

    label: str
    index: int
    images: int
    whole: int
    step: int
    steps: int
    worker: int | None = None


@dataclass(frozen=True)
class BlockDone:
    """A block was drawn, or found, and judged.

    Attributes:
        count: How far its class is now.
        index: The block's place in its class, from 0.
        drawn: Images drawn for it; 0 when it was there.
        seconds: How long that took.
        verdicts: One per attempt of the block, in order: None for accepted, else the reason (`Decision.reason`).
        worker: Number of the process that made it, from 0; None for this process.
    """

    count: ClassCount
    index: int
    drawn: int
    seconds: float
    verdicts: tuple[str | None, ...] = ()
    worker: int | None = None


@dataclass(frozen=True)
class BlockFailed:
    """A block could not be made, several times; its class ends before it.

    Attributes:
        label: The class.
        index: Place of the block in its class, from 0.
        reasons: How it failed, once for each time.
    """

    label: str
    index: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class BlockAhead:
    """A block was drawn that turned out not to be needed; it is kept under `RUN/ahead/`.

    Attributes:
        label: The class.
        index: Place of the block in its class, from 0.
        drawn: Images drawn for it.
        worker: Number of the process that made it, from 0; None for this process.
    """

    label: str
    index: int
    drawn: int
    worker: int | None


@dataclass(frozen=True)
class ClassDone:
    """A class reached its target, or its last attempt.

    Attributes:
        count: How far it is.
    """

    count: ClassCount


@dataclass(frozen=True)
class Writing:
    """Everything is judged; a part of the result is being written.

    Attributes:
        part: "decisions", "data", "report" or "card".
    """

    part: str


@dataclass(frozen=True)
class Finished:
    """The run ended and its files are written.

    Attributes:
        result: How it ended.
    """

    result: RunResult


Event = (Planned | WorkerReady | WorkerLost | Drawing | BlockDone | BlockAhead | BlockFailed | ClassDone | Writing
         | Finished)
Listener = Callable[[Event], None]
