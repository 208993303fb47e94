"""What is being made before a training's first step, and how far it is, on standard error."""

from __future__ import annotations

import sys
import time


class HowFar:
    """Says at once what is being made, and how far it is now and then and at the end.

    Args:
        what: What is said at once, with `{}` for how many there are.
        past: What is said before the numbers of what is done.
        unit: What is said after them.
        every: Seconds between two lines.
    """

    def __init__(self, what: str, past: str, unit: str = "", every: float = 5.0) -> None:
        self.what, self.past, self.unit, self.every = what, past, unit, every
        self.done = self.total = 0
        self.shown = 0.0

    def begin(self, total: int) -> None:
        """Say what is being made; nothing where there is nothing to make."""
        self.done, self.total, self.shown = 0, total, time.monotonic()
        if total:
            print(self.what.format(total), file=sys.stderr, flush=True)

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        now = time.monotonic()
        if self.done == self.total or now - self.shown >= self.every:
            self.shown = now
            print(f"{self.past} {self.done} of {self.total}{self.unit}", file=sys.stderr, flush=True)


def encoding(views: int) -> HowFar:
    """Of images that an autoencoder encodes in so many views each."""
    return HowFar("encoding {} images, " + f"{views} view{'s' * (views > 1)} each", "encoded")
