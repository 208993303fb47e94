"""How often a run says how far a block is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from terrasynth.synthesis.events import Drawing
from terrasynth.synthesis.generators.steps import Steps

EVERY = 1.0  # seconds
OnDrawing = Callable[[Drawing], None]


class Pace:
    """Makes events of the steps of a generator: at most one a second, and none in the first second of a block.

    Args:
        begun: The block, of which nothing is drawn.
        tell: Is told the events.
        clock: Gives seconds.
    """

    def __init__(self, begun: Drawing, tell: OnDrawing, clock: Callable[[], float] = time.monotonic) -> None:
        self._begun, self._tell, self._clock = begun, tell, clock
        self._told = clock()

    def __call__(self, steps: Steps) -> None:
        """Hear of a step."""
        if (now := self._clock()) - self._told >= EVERY:
            self._told = now
            self._tell(replace(self._begun, whole=steps.whole, step=steps.step, steps=steps.steps))
