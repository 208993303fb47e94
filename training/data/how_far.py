"""What is being made before a training's first step or between two, and how far it is, on standard error."""

from __future__ import annotations

import sys
import time

from terrasynth.synthesis.core.progress import ERASED, duration
from terrasynth.synthesis.core.terminal import control


class HowFar:
    """Says at once what is being made, and how far it is now and then and at the end.

    Args:
        what: What is said at once, with `{}` for how many there are.
        past: What is said before the numbers of what is done.
        unit: What is said after them.
        every: Seconds between two lines.
        at_once: False says nothing before so many seconds went by, for what is done again and again.
        enabled: False says nothing at all (all processes but the first).
    """

    def __init__(self, what: str, past: str, unit: str = "", every: float = 5.0, *, at_once: bool = True,
                 enabled: bool = True) -> None:
        self.what, self.past, self.unit, self.every = what, past, unit, every
        self.enabled, self.began = enabled, at_once
        self.done = self.total = 0
        self.shown = self.start = 0.0

    def begin(self, total: int) -> None:
        """Say what is being made; nothing where there is nothing to make."""
        self.done, self.total = 0, total
        self.shown = self.start = time.monotonic()
        if total and self.began:
            self._say(self.what.format(total))

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        now = time.monotonic()
        if (self.done == self.total and self.began) or now - self.shown >= self.every:
            self.shown, self.began = now, True
            self._say(f"{self.past} {self.done} of {self.total}{self.unit}{self._left(self.done, now)}")

    def within(self, share: float, count: int) -> None:
        """Of the next so many a share, 0 to 1, is done: what takes long is told before the first of them is whole."""
        now = time.monotonic()
        if share < 1 and now - self.shown >= self.every:
            self.shown, self.began = now, True
            self._say(f"{self.past} {self.done} of {self.total}{self.unit}{self._left(self.done + share * count, now)}")

    def _left(self, done: float, now: float) -> str:
        """How long the rest will take, at the pace so far."""
        seconds = (now - self.start) / done * (self.total - done) if done else 0.0
        return f", about {duration(seconds)} to go" if seconds >= 1 else ""

    def _say(self, line: str) -> None:
        if self.enabled:
            if sys.stderr.isatty():
                control(sys.stderr, ERASED)  # the live line of the steps
            print(line, file=sys.stderr, flush=True)


def encoding(views: int) -> HowFar:
    """Of images that an autoencoder encodes in so many views each."""
    return HowFar("encoding {} images, " + f"{views} view{'s' * (views > 1)} each", "encoded")
