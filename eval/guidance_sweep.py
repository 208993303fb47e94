"""What guidance does to the figures: runs of one recipe that differ in it alone, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from eval.errors import InputError
from eval.evaluation_charts import Point, sweep_svg
from eval.metrics import Figure

if TYPE_CHECKING:
    from eval.evaluation import Evaluation
    from eval.figures import FrechetFigures

AXIS = "guidance scale"


@dataclass(frozen=True)
class SweepPoint:
    """One run.

    Attributes:
        guidance: Its guidance scale.
        run: What to call it.
        identity: Hash of what decided its pictures.
        n: Pictures judged.
        score: CLIP score.
        accuracy: Scene accuracy.
        frechet: Distance to real pictures; None without.
    """

    guidance: float
    run: str
    identity: str
    n: int
    score: Figure
    accuracy: Figure
    frechet: FrechetFigures | None

    @classmethod
    def of(cls, guidance: float, run: str, identity: str, evaluation: Evaluation) -> SweepPoint:
        """The figures of one run."""
        return cls(guidance, run, identity, evaluation.n, evaluation.alignment.score, evaluation.scene.accuracy,
                   evaluation.frechet)

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


def sweep_charts(points: Sequence[SweepPoint]) -> list[tuple[str, str]]:
    """Name and SVG of a chart a figure; there is none of a figure that a run lacks."""
    named: list[tuple[str, list[Point]]] = [
        ("CLIP score", [_point(each, each.score) for each in points]),
        ("scene accuracy", [_point(each, each.accuracy) for each in points]),
    ]
    distances = [(each, each.frechet) for each in points if each.frechet is not None]
    if len(distances) == len(points):
        named.append(("Frechet distance", [
            Point(each.guidance, f.distance, f.low, f.high, f"{each.guidance:g}: {f.distance:.2f} (n = {f.n})")
            for each, f in distances
        ]))
    return [(name, sweep_svg(values, AXIS, name)) for name, values in named]


def _point(each: SweepPoint, figure: Figure) -> Point:
    return Point(each.guidance, figure.value, figure.low, figure.high, f"{each.guidance:g}: {figure}")
