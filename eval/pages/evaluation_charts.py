"""Charts of an evaluation as inline SVG, drawn by the page's own colours: a confusion matrix, and a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from terrasynth.eval.evaluation.confusion import Confusion
from terrasynth.eval.evaluation.guidance_sweep import SweepPoint
from terrasynth.eval.metrics.figure import Figure
from terrasynth.eval.pages.charts import nice_ticks

AXIS = "guidance scale"

CELL, LABEL_WIDTH, LABEL_HEIGHT = 22, 112, 104
OVERHANG = 48  # of the last slanted label
MOST_CLASSES = 45
"""A larger matrix is unreadable, and a page of several MB."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 220, 50, 14, 14, 42


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        x: What was swept.
        value: The figure.
        low: Lower end of its interval; None where there is none.
        high: Upper end.
        words: What to say of it.
    """

    x: float
    value: float
    low: float | None
    high: float | None
    words: str


def confusion_svg(confusion: Confusion, whose: str) -> str:
    """A row a class that was asked for, a column a class that was seen; the darker, the larger the share of the row.

    Args:
        confusion: Counts; at most `MOST_CLASSES` columns.
        whose: Pictures, in the words of the description for those who do not see it.
    """
    rows, columns = len(confusion.asked), len(confusion.seen)
    width, height = LABEL_WIDTH + columns * CELL + OVERHANG, LABEL_HEIGHT + rows * CELL + 4
    parts = []
    for place, name in enumerate(confusion.seen):
        x = LABEL_WIDTH + place * CELL + CELL / 2 + 4
        parts.append(f'<text class="axis" transform="translate({x} {LABEL_HEIGHT - 6}) rotate(-60)">'
                     f'{escape(name)}</text>')
    for row, (name, counts) in enumerate(zip(confusion.asked, confusion.counts, strict=True)):
        y, n = LABEL_HEIGHT + row * CELL, sum(counts)
        parts.append(f'<text class="axis" x="{LABEL_WIDTH - 6}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        for column, count in enumerate(counts):
            parts.append(_cell(LABEL_WIDTH + column * CELL, y, count, n, name, confusion.seen[column]))
    label = f"Confusion matrix of {confusion.n} {whose}: rows are what was asked for, columns what is seen"
    return (f'<svg class="confusion" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
            f'{"".join(parts)}</svg>')


def _cell(x: int, y: int, count: int, n: int, asked: str, seen: str) -> str:
    if not count:
        return f'<rect class="empty" x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}"/>'
    kind, share = "accepted" if asked == seen else "rejected", count / n
    dark = ' class="on"' if share > 0.55 else ""
    return (
        f'<g><title>{escape(asked)} seen as {escape(seen)}: {count} of {n}</title>'
        f'<rect class="empty" x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}"/>'
        f'<rect class="{kind}" opacity="{0.15 + 0.85 * share:.2f}" x="{x}" y="{y}" width="{CELL - 1}" '
        f'height="{CELL - 1}"/><text{dark} x="{x + CELL / 2 - 0.5}" y="{y + 15}" text-anchor="middle">{count}</text>'
        "</g>"
    )


def sweep_svg(points: Sequence[Point], axis: str, name: str) -> str:
    """A figure against what was swept, with intervals.

    Args:
        points: At least one, ascending in x.
        axis: What was swept.
        name: Of the figure.
    """
    ends = [end for each in points for end in (each.value, each.low, each.high) if end is not None]
    low, high = min(ends), max(ends)
    if low == high:
        low, high = low - 0.5, high + 0.5
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    first, last = points[0].x, points[-1].x
    span = (last - first) or 1.0

    def x(value: float) -> float:
        return LEFT + 14 + (value - first) / span * (WIDTH - LEFT - RIGHT - 28)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
             f'<text class="axis" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
             for tick in nice_ticks(low, high, 4)]
    parts += [f'<text class="axis" x="{x(each.x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{each.x:g}'
              f'</text>' for each in points]
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
                 f'{escape(axis)}</text>')
    line = " ".join(f"{x(each.x):.1f},{y(each.value):.1f}" for each in points)
    parts.append(f'<polyline class="line" points="{line}"/>')
    for each in points:
        if each.low is not None and each.high is not None:
            parts.append(f'<line class="whisker" x1="{x(each.x):.1f}" x2="{x(each.x):.1f}" y1="{y(each.low):.1f}" '
                         f'y2="{y(each.high):.1f}"/>')
        parts.append(f'<circle class="accepted" cx="{x(each.x):.1f}" cy="{y(each.value):.1f}" r="5">'
                     f'<title>{escape(each.words)}</title></circle>')
    label = f"{name} against {axis}: " + "; ".join(each.words for each in points)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


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
