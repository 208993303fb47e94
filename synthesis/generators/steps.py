"""How far a generator is with what it draws: read from the bars of progress that pipelines of diffusers keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable


@dataclass(frozen=True)
class Steps:
    """How far a generator is with the images that it was asked for.

    Attributes:
        whole: Images that are drawn.
        step: Steps so far of the image, or of the images drawn at once, that has just gone one further; 0 where it has
            just become whole. A generator of tokens counts these.
        steps: Steps of an image.
    """

    whole: int
    step: int
    steps: int


OnStep = Callable[[Steps], None]


@runtime_checkable
class TellsSteps(Protocol):
    """A generator that says how far it is; what has no such attribute is not asked.

    Attributes:
        on_step: Is called after each step and each image, in the thread that called `draw`; None for nobody.

    Example:
        >>> from terrasynth import load_generator
        >>> from terrasynth.synthesis.generators.steps import TellsSteps
        >>> generator = load_generator("ldm-ucm", steps=2)
        >>> isinstance(generator, TellsSteps)
        True
        >>> heard = []
        >>> generator.on_step = heard.append
        >>> _ = generator.draw(["a beach"], [0])
        >>> heard[-1]
        Steps(whole=1, step=0, steps=2)
    """

    on_step: OnStep | None


class Bar:
    """What a pipeline takes for its bar of progress, as of tqdm; it shows nothing, and tells of each step.

    Args:
        told: Is told the steps so far, and all.
        iterable: What the steps are taken over, where the pipeline gives that.
        total: How many there are, where it gives that.
    """

    def __init__(self, told: Callable[[int, int], None], iterable: Sequence[Any] | None, total: int | None) -> None:
        self._told, self._iterable, self.n = told, () if iterable is None else iterable, 0
        self.total = len(self._iterable) if total is None else total

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        """What the steps are taken over; each is done when the next is asked for."""
        for each in self._iterable:
            yield each
            self.update()

    def update(self, n: int = 1) -> None:
        """Count steps, and tell."""
        self.n += n
        self._told(self.n, self.total)

    def close(self) -> None:
        """There is nothing to take off the screen."""

    def set_description(self, text: str = "", refresh: bool = True) -> None:
        """Nothing is shown."""

    def set_postfix(self, *_: object, **__: object) -> None:
        """Nothing is shown."""
