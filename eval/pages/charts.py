"""Score histograms as inline SVG: drawn by the page's own colours, so that they suit a light and a dark page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 30, 30
MAX_LINES = 3


@dataclass(frozen=True)
class ScoreHistogram:
    """How the scores of one filter are spread over accepted and rejected attempts.

    Attributes:
        name: The filter.
        edges: B + 1 ascending bin edges.
        accepted: B counts.
        rejected: B counts; all rejected attempts that have this score, whatever they were rejected for.
        thresholds: Class -> score that decides; one entry under "" where it is the same for every class.
    """

    name: str
    edges: tuple[float, ...]
    accepted: tuple[int, ...]
    rejected: tuple[int, ...]
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.edges) - 1 == len(self.accepted) == len(self.rejected) > 0:
            raise ValueError(
                f"histogram {self.name!r}: {len(self.edges)} edges need {len(self.edges) - 1} counts, at least one; "
                f"got {len(self.accepted)} accepted and {len(self.rejected)} rejected"
            )

    @classmethod
    def of(
        cls, name: str, accepted: NDArray[np.floating], rejected: NDArray[np.floating],
        thresholds: Mapping[str, float] | None = None, bins: int = 40,
    ) -> ScoreHistogram:
        """Count scores (N,) and (M,) over common bins that span all scores and thresholds.

        Raises:
            ValueError: There is no score at all.
        """
        thresholds = dict(thresholds or {})
        scores = np.concatenate([accepted, rejected]).astype(np.float64)
        if not len(scores):
            raise ValueError(f"histogram {name!r} of no scores: leave it out")
        span = np.concatenate([scores, np.array(list(thresholds.values()))])
        low, high = float(span.min()), float(span.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, bins + 1)
        counts = [tuple(int(count) for count in np.histogram(part, edges)[0]) for part in (accepted, rejected)]
        return cls(name, tuple(float(edge) for edge in edges), counts[0], counts[1], thresholds)


def histogram_svg(histogram: ScoreHistogram) -> str:
    """An SVG element: stacked bars, axes, and the threshold as a line (or a band where it differs by class).

    Its colours are the classes `accepted`, `rejected`, `threshold`, `axis` of the page's style sheet.
    """
    edges = histogram.edges
    tallest = max(1, *(a + r for a, r in zip(histogram.accepted, histogram.rejected, strict=True)))
    y_ticks = nice_ticks(0, tallest, 4)
    top = max(tallest, y_ticks[-1])

    def x(value: float) -> float:
        return LEFT + (value - edges[0]) / (edges[-1] - edges[0]) * (WIDTH - LEFT - RIGHT)

    def y(count: float) -> float:
        return HEIGHT - BOTTOM - count / top * (HEIGHT - TOP - BOTTOM)

    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
             f'<text class="axis" x="{LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>' for t in y_ticks]
    parts += [f'<text class="axis" x="{x(t):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{t:g}</text>'
              for t in nice_ticks(edges[0], edges[-1], 6)]
    for low, high, accepted, rejected in zip(edges, edges[1:], histogram.accepted, histogram.rejected, strict=False):
        left, width = x(low) + 0.5, max(0.5, x(high) - x(low) - 1)
        for kind, base, count in (("accepted", 0, accepted), ("rejected", accepted, rejected)):
            if count:
                height = y(base) - y(base + count)
                parts.append(
                    f'<rect class="{kind}" x="{left:.1f}" y="{y(base + count):.1f}" width="{width:.1f}" '
                    f'height="{height:.1f}"><title>{low:.3f} to {high:.3f}: {count} {kind}</title></rect>'
                )
    parts += _threshold_marks(histogram.thresholds, x)
    label = f"{sum(histogram.accepted)} accepted and {sum(histogram.rejected)} rejected attempts by score"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) between `low` and `high`, about so many."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _threshold_marks(thresholds: Mapping[str, float], x: Callable[[float], float]) -> Sequence[str]:
    values = sorted(set(thresholds.values()))
    if not values:
        return []
    low, high = values[0], values[-1]
    marks = []
    if len(values) <= MAX_LINES:
        marks = [f'<line class="threshold" x1="{x(v):.1f}" x2="{x(v):.1f}" y1="{TOP - 8}" y2="{HEIGHT - BOTTOM}"/>'
                 for v in values]
        text = "threshold " + ", ".join(f"{v:.3f}" for v in values)
    else:
        marks = [f'<rect class="band" x="{x(low):.1f}" y="{TOP - 8}" width="{x(high) - x(low):.1f}" '
                 f'height="{HEIGHT - BOTTOM - TOP + 8}"/>']
        text = f"thresholds by class, {low:.3f} to {high:.3f}"
    middle = (x(low) + x(high)) / 2
    # The words stay inside the frame wherever the line is.
    anchor = "start" if middle < WIDTH * 0.3 else "end" if middle > WIDTH * 0.7 else "middle"
    return [*marks, f'<text class="threshold" x="{middle:.1f}" y="{TOP - 14}" text-anchor="{anchor}">{text}</text>']
