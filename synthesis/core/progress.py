"""A run's progress on a terminal: one live line where there is a person, plain lines where there is a log."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

from terrasynth.synthesis.core.terminal import control
from terrasynth.synthesis.events import (
    BlockAhead,
    BlockDone,
    BlockFailed,
    ClassCount,
    ClassDone,
    Drawing,
    Event,
    Finished,
    Planned,
    WorkerLost,
    WorkerReady,
    Writing,
)
from terrasynth.words import counted

ERASED = "\r\x1b[2K"  # a terminal's line, to be written anew


def fitted(text: str) -> str:
    """A text that is shorter than the terminal is wide: a longer live line would be left behind when it is erased."""
    width = shutil.get_terminal_size().columns - 1
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


class Progress:
    """Listens to a run and prints accepted, attempted, rate and time left, by class and in all."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._counts: dict[str, ClassCount] = {}
        self._seconds = 0.0
        self._drawn = 0
        self._most = 0
        self._blocks: dict[int, int] = {}  # made by each worker

    def begin(self, text: str) -> None:
        """Say on a terminal what happens before the first event, such as loading models."""
        if self._live:
            self._update(text)

    def tell(self, text: str) -> None:
        """Say what happens now: on a terminal in the live line, in a log in a line."""
        self._update(text)

    def clear(self) -> None:
        """Take the live line away, so that whatever is printed next begins a line."""
        if self._live:
            control(self._stream, ERASED)

    def __call__(self, event: Event) -> None:
        """Print what an event says."""
        match event:
            case Planned(identity=identity, counts=counts, max_attempts=most, resumed=resumed, notes=notes):
                self._counts, self._most = {count.label: count for count in counts}, most
                wanted = sum(count.target for count in counts)
                began = "continuing" if resumed else "starting"
                classes = counted(len(counts), "class", "classes")
                self._line(f"{began}: {counted(wanted, 'image')} of {classes}, identity {identity}")
                for note in notes:
                    self._line(f"note: {note}")
            case WorkerReady(worker=worker, workers=workers, process=process, device=device):
                self._blocks.setdefault(worker, 0)
                self._line(f"worker {worker} of {workers} is ready: process {process}, {device}")
            case WorkerLost(worker=worker, reason=reason, block=block, final=final, again=again):
                now = "the others go on without it" if final else "it is started again"
                if block:
                    now = f"block {block[1]} of {block[0]} is {'made again' if again else 'given up'}"
                self._line(f"worker {worker}: {reason}; {now}")
            case BlockFailed(label=label, index=index, reasons=reasons):
                self._line(f"{label}: block {index} failed {len(reasons)} times ({reasons[-1]}); the class ends before "
                           "it")
            case Drawing(label=label, images=images, whole=whole, step=step, steps=steps, worker=worker):
                if self._live:
                    now = f", step {step} of {steps}" if step else ""
                    of = "" if worker is None else f"worker {worker}: "
                    self._update(f"{of}{label} {whole} of {images} images of a block{now} | {self._total()}")
            case BlockDone(count=count, drawn=drawn, seconds=seconds, worker=worker):
                self._counts[count.label] = count
                if worker is not None:
                    self._blocks[worker] = self._blocks.get(worker, 0) + 1
                if drawn:
                    self._seconds += seconds / max(1, len(self._blocks))  # workers draw side by side
                    self._drawn += drawn
                if drawn or self._live:
                    self._update(f"{self._describe(count)} | {self._total()}")
            case ClassDone(count=count):
                if count.short:  # what waits for review is said once, when all is done
                    self._line(f"missed its target: {self._describe(count)}")
            case Writing(part=part):
                self._update(f"writing {part}")
            case BlockAhead():
                pass
            case Finished(result=result):
                self._line("")
                if result.ahead:
                    self._line(f"{result.ahead} of {result.drawn} images were drawn ahead and are not needed; they "
                               "are kept in ahead/ for a larger target")
                if not result.stopped and (before := result.kept_ahead - result.ahead) > 0:
                    self._line(f"{before} images that were drawn ahead before are not needed; they are kept in ahead/ "
                               "for a larger target")

    def _describe(self, count: ClassCount) -> str:
        share = count.accepted / count.attempted if count.attempted else 0.0
        waiting = f", {count.waiting} wait for review" if count.waiting else ""
        return (
            f"{count.label} {count.accepted}/{count.target} accepted of {count.attempted} attempts "
            f"({share:.0%}){waiting}{self._eta([count])}"
        )

    def _total(self) -> str:
        counts = list(self._counts.values())
        accepted, target = sum(count.accepted for count in counts), sum(count.target for count in counts)
        rate = f", {self._drawn / self._seconds:.1f} images/s" if self._seconds else ""
        workers = " | blocks by worker " + " ".join(str(self._blocks[each]) for each in sorted(self._blocks))
        return f"all {accepted}/{target}{rate}{self._eta(counts)}{workers if self._blocks else ''}"

    def _eta(self, counts: list[ClassCount]) -> str:
        """Time left at the rates so far; a class that nothing was accepted of may need all its attempts."""
        if not self._drawn:
            return ""
        seconds = self._seconds / self._drawn * sum(self._attempts_left(count) for count in counts)
        return f", {clock(seconds)} left" if seconds else ""

    def _attempts_left(self, count: ClassCount) -> float:
        most = max(0, self._most - count.attempted)
        if not count.attempted:
            everything = list(self._counts.values())
            passed, attempted = sum(c.accepted + c.waiting for c in everything), sum(c.attempted for c in everything)
        else:
            passed, attempted = count.accepted + count.waiting, count.attempted
        left = max(0, count.target - count.accepted - count.waiting)
        return min(most, left * attempted / passed) if passed else most

    def _update(self, text: str) -> None:
        if self._live:
            control(self._stream, ERASED)
            print(fitted(text), end="", file=self._stream, flush=True)
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        if self._live:
            control(self._stream, ERASED)
            print(text, file=self._stream, flush=True)
        elif text:
            print(text, file=self._stream, flush=True)


def clock(seconds: float) -> str:
    """Seconds as a clock shows them.

    Example:
        >>> from terrasynth.synthesis.core.progress import clock
        >>> clock(5), clock(272.4), clock(3_600)
        ('0:05', '4:32', '1:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "12 min", "3.5 h".

    Example:
        >>> from terrasynth.synthesis.core.progress import duration
        >>> duration(44.6), duration(700), duration(12_600)
        ('45 s', '12 min', '3.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.1f} days"
