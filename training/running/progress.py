"""One line of progress with the time that is left: a live line on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from terrasynth.synthesis.core.progress import ERASED, clock, fitted
from terrasynth.synthesis.core.terminal import control


class Progress:
    """Prints step, losses, steps a second and ETA to standard error.

    Args:
        name: Printed first.
        enabled: False prints nothing (all processes but the first).
        every: Seconds between lines when standard error is not a terminal.
    """

    def __init__(self, name: str, enabled: bool = True, every: float = 20.0) -> None:
        self.name, self.enabled = name, enabled
        self.live = sys.stderr.isatty()
        self.every = 0.2 if self.live else every
        self.start = self.shown = time.monotonic()
        self.first: int | None = None

    def step(self, step: int, fraction: float, seconds: float, losses: Mapping[str, float]) -> None:
        """Report a finished step; `fraction` of the budget in [0, 1], `seconds` spent in all."""
        now = time.monotonic()
        self.first = step - 1 if self.first is None else self.first
        if not self.enabled or (now - self.shown < self.every and fraction < 1):
            return
        self.shown = now
        rate = (step - self.first) / max(now - self.start, 1e-9)
        left = seconds / fraction - seconds if fraction > 0 else 0.0
        values = " ".join(f"{name.split('/')[-1].replace('_', ' ')} {value:.4g}" for name, value in losses.items())
        line = f"{self.name}: step {step} ({fraction:.0%}) {rate:.2f} steps/s, {clock(max(0.0, left))} left, {values}"
        if self.live:
            control(sys.stderr, ERASED)
        print(fitted(line) if self.live else line, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the live line."""
        if self.enabled and self.live:
            print(file=sys.stderr)
