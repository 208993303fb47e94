"""Curves of several sets in one frame as inline SVG: drawn by the page's own colours, for a light and a dark page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 46
COLOURS = 6  # what the style sheet has; later sets start again with the first
MOST_POINTS = 240
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One axis of a frame.

    Attributes:
        title: What is on it, with its unit.
        low: Its first value; above 0 where it is logarithmic.
        high: Its last value, above `low`.
        log: Whether it is logarithmic.
        form: How a tick is written.
    """

    title: str
    low: float
    high: float
    log: bool
    form: Callable[[float], str]

    def place(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        if self.log:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers in the range; powers of ten where it is logarithmic."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last - first >= 2:
                return [10.0**power for power in range(first, last + 1)]
            return [f * 10.0**power for power in range(first - 1, last + 1) for f in (1, 2, 5)
                    if self.low <= f * 10.0**power <= self.high]
        raw = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


def curves_svg(curves: Sequence[Sequence[Point]], x: Axis, y: Axis, label: str, marks: Sequence[str] = ()) -> str:
    """An SVG element: one curve a set in its colour, over a grid.

    Args:
        curves: Points of each set, ascending in x; a set may have none.
        x: The horizontal axis.
        y: The vertical axis.
        label: What a screen reader says.
        marks: Further elements, such as those of `limit_mark` and `diagonal`.
    """
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{_y(y, t):.1f}" y2="{_y(y, t):.1f}"/>'
             f'<text class="axis" x="{LEFT - 7}" y="{_y(y, t) + 4:.1f}" text-anchor="end">{escape(y.form(t))}</text>'
             for t in y.ticks()]
    parts += [f'<line class="grid" x1="{_x(x, t):.1f}" x2="{_x(x, t):.1f}" y1="{TOP}" y2="{bottom}"/>'
              f'<text class="axis" x="{_x(x, t):.1f}" y="{bottom + 17}" text-anchor="middle">{escape(x.form(t))}</text>'
              for t in x.ticks()]
    parts.append(f'<text class="axis" x="{right}" y="{HEIGHT - 8}" text-anchor="end">{escape(x.title)}</text>'
                 f'<text class="axis" x="{LEFT}" y="{HEIGHT - 8}">↑ {escape(y.title)}</text>')
    parts += marks
    for number, curve in enumerate(curves):
        points = " ".join(f"{_x(x, one):.1f},{_y(y, other):.1f}" for one, other in curve)
        if points:
            parts.append(f'<polyline class="set-{number % COLOURS}" points="{points}"/>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def limit_mark(x: Axis, value: float, text: str) -> str:
    """A vertical line at a value, with words beside it."""
    place = _x(x, value)
    anchor, shift = ("end", -6) if x.place(value) > 0.5 else ("start", 6)
    return (f'<line class="limit" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="limit" x="{place + shift:.1f}" y="{TOP + 12}" text-anchor="{anchor}">{escape(text)}</text>')


def diagonal(x: Axis, y: Axis) -> str:
    """The line where both axes have the same value."""
    end = min(x.high, y.high)
    return (f'<line class="ideal" x1="{_x(x, x.low):.1f}" y1="{_y(y, x.low):.1f}" x2="{_x(x, end):.1f}" '
            f'y2="{_y(y, end):.1f}"/>')


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most about `MOST_POINTS` of the points, evenly by the logarithm of their number, the first and last kept."""
    if len(points) <= MOST_POINTS:
        return list(points)
    steps = [round(len(points) ** (step / (MOST_POINTS - 1))) for step in range(MOST_POINTS)]
    return [points[place - 1] for place in dict.fromkeys(steps)]


def stairs(counts: Sequence[int]) -> list[Point]:
    """The outline of a histogram of whole numbers, as shares; 0 lies in the middle of the first bar."""
    total = sum(counts)
    points: list[Point] = []
    for number, count in enumerate(counts):
        share = count / total
        points += [(number - 0.5, share), (number + 0.5, share)]
    return [*points, (len(counts) - 0.5, 0.0)]


def short(value: float) -> str:
    """A number for a tick: 1, 500, 10k, 2M."""
    for factor, unit in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def percent(value: float) -> str:
    """A share for a tick: 10 %, 0.01 %."""
    return f"{100 * value:.10g} %"


def _x(axis: Axis, value: float) -> float:
    return LEFT + min(1.0, max(0.0, axis.place(value))) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - min(1.0, max(0.0, axis.place(value))) * (HEIGHT - TOP - BOTTOM)
