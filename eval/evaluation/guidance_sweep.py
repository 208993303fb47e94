"""What guidance does to the figures: runs of one recipe that differ in it alone, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from terrasynth.eval.errors import InputError
from terrasynth.eval.metrics.figure import Figure

if TYPE_CHECKING:
    from terrasynth.eval.evaluation.figures import FrechetFigures
    from terrasynth.eval.evaluation.record import Evaluation

@dataclass(frozen=True)
class SweepPoint:
    """One run.

    Attributes:
        identity: Hash of what decided its images.
        score: CLIP score.
        accuracy: Scene accuracy; None where the classifier does not know every class.
        frechet: Distance to real images; None without.
    """

    guidance: float
    run: str
    identity: str
    n: int
    score: Figure
    accuracy: Figure | None
    frechet: FrechetFigures | None

    @classmethod
    def of(cls, guidance: float, run: str, identity: str, evaluation: Evaluation) -> SweepPoint:
        """The figures of one run."""
        accuracy = None if evaluation.scene is None else evaluation.scene.accuracy
        return cls(guidance, run, identity, evaluation.n, evaluation.alignment.score, accuracy, evaluation.frechet)

    def to_json(self) -> dict[str, object]:
        """Nested plain data."""
        return asdict(self)


def in_order(points: Sequence[SweepPoint]) -> tuple[SweepPoint, ...]:
    """By guidance.

    Raises:
        InputError: Two runs have the same guidance.
    """
    ordered = sorted(points, key=lambda each: each.guidance)
    for one, other in pairwise(ordered):
        if one.guidance == other.guidance:
            raise InputError(f"runs {one.run!r} and {other.run!r} both have guidance {one.guidance:g}; a sweep needs "
                             "runs of different guidance")
    return tuple(ordered)
