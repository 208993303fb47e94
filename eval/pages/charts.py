"""Charts as inline SVG: axes, lines, bars and marks, drawn by the page's own colors for a light and a dark page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.table import key_html, prose

LEFT, RIGHT, TOP, BOTTOM = 58, 16, 16, 46
MAX_LINES = 3
"""More thresholds than that are a band."""

CELL, LABEL_WIDTH, LABEL_HEIGHT = 22, 112, 104
OVERHANG = 48  # of the last slanted label of a matrix
MOST_POINTS = 240
Point = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """A chart with what it takes to read it.

    Attributes:
        title: What it shows, or "".
        key: Class of the style sheet -> name of what is drawn in its color.
        note: A sentence below, or "".
    """

    svg: str
    title: str = ""
    key: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def html(self) -> str:
        """The key, the chart and its note."""
        note = f'<p class="soft">{prose(self.note)}</p>' if self.note else ""
        return f'<div class="chart">{key_html(self.key)}<div class="scroll">{self.svg}</div>{note}</div>\n'


@dataclass(frozen=True)
class Axis:
    """One axis of a plot.

    Attributes:
        title: What is on it, with its unit; "" where the chart's title says it.
        low: Its first value; above 0 where it is logarithmic.
        high: Its last value, above `low`.
        form: How a tick is written.
        marks: Value -> tick, in place of round numbers.
        about: Ticks wanted, about.
    """

    title: str
    low: float
    high: float
    log: bool = False
    form: Callable[[float], str] = "{:g}".format
    marks: Mapping[float, str] = field(default_factory=dict)
    about: int = 6

    @classmethod
    def around(
        cls, values: Iterable[float], title: str = "", marks: Mapping[float, str] | None = None, about: int = 6
    ) -> Axis:
        """An axis that spans values with a twentieth more on both sides."""
        known = list(values)
        low, high = min(known), max(known)
        more = 0.05 * (high - low) or 0.5
        return cls(title, low - more, high + more, marks=marks or {}, about=about)

    def place(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        if self.log:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> dict[float, str]:
        """Value and words of each tick: round numbers, or powers of ten where it is logarithmic."""
        if self.marks:
            return dict(self.marks)
        found = nice_ticks(self.low, self.high, self.about)
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            factors = (1,) if last - first >= 2 else (1, 2, 5)
            found = [f * 10.0**power for power in range(first - 1, last + 1) for f in factors
                     if self.low <= f * 10.0**power <= self.high]
        return {tick: self.form(tick) for tick in found}


class Plot:
    """A frame with a grid, in which marks are drawn at values of its axes."""

    def __init__(self, x: Axis, y: Axis, label: str, size: tuple[int, int] = (560, 280)) -> None:
        """Draw the axes.

        Args:
            label: What a screen reader says.
            size: Width and height in pixels.
        """
        self._x, self._y, self._label, self._size = x, y, label, size
        self._bottom = size[1] - (BOTTOM if x.title or y.title else BOTTOM - 18)
        right, bottom = size[0] - RIGHT, self._bottom
        self._parts = [
            f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{self.y(tick):.1f}" y2="{self.y(tick):.1f}"/>'
            + _text(LEFT - 7, self.y(tick) + 4, words, "end") for tick, words in y.ticks().items()]
        self._parts += [_text(self.x(tick), bottom + 17, words, "middle") for tick, words in x.ticks().items()]
        self._parts.append(_text(right, size[1] - 8, x.title, "end") if x.title else "")
        self._parts.append(_text(LEFT, size[1] - 8, f"↑ {y.title}", "start") if y.title else "")

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return LEFT + min(1.0, max(0.0, self._x.place(value))) * (self._size[0] - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return self._bottom - min(1.0, max(0.0, self._y.place(value))) * (self._bottom - TOP)

    def curve(self, points: Iterable[Point], kind: str, hint: str = "") -> None:
        """A line through points; none for no points."""
        places = " ".join(f"{self.x(one):.1f},{self.y(other):.1f}" for one, other in points)
        if places:
            self._add("polyline", kind, f'points="{places}"', hint)

    def dot(self, x: float, value: float, low: float | None, high: float | None, kind: str, hint: str) -> None:
        """A value, with its interval where there is one."""
        if low is not None and high is not None:
            self.line((x, low), (x, high), f"whisker {kind}")
        self._add("circle", kind, f'cx="{self.x(x):.1f}" cy="{self.y(value):.1f}" r="4"', hint)

    def line(self, start: Point, end: Point, kind: str, hint: str = "") -> None:
        """A straight line."""
        self._add("line", kind, f'x1="{self.x(start[0]):.1f}" x2="{self.x(end[0]):.1f}" y1="{self.y(start[1]):.1f}" '
                                f'y2="{self.y(end[1]):.1f}"', hint)

    def level(self, value: float, kind: str, name: str) -> None:
        """A value that holds for all of x, with its name."""
        self.line((self._x.low, value), (self._x.high, value), f"level {kind}", f"{name}: {value:.3f}")
        self._parts.append(_text(LEFT + 4, self.y(value) - 5, name, "start"))

    def bar(self, x: tuple[float, float], y: tuple[float, float], kind: str, hint: str = "") -> None:
        """A rectangle between two values of each axis, a pixel narrower so that neighbors stay apart."""
        left, top = self.x(x[0]) + 0.5, self.y(y[1])
        self._add("rect", kind, f'x="{left:.1f}" y="{top:.1f}" width="{max(0.5, self.x(x[1]) - left - 0.5):.1f}" '
                                f'height="{self.y(y[0]) - top:.1f}"', hint)

    def limits(self, values: Iterable[float], words: Callable[[str], str]) -> None:
        """Vertical lines at values, a band where there are many, and words that stay in the frame."""
        known = sorted(set(values))
        if not known:
            return
        if many := len(known) > MAX_LINES:
            self.bar((known[0], known[-1]), (self._y.low, self._y.high), "band")
        else:
            for value in known:
                self.line((value, self._y.low), (value, self._y.high), "threshold")
        middle = (self.x(known[0]) + self.x(known[-1])) / 2
        anchor = "start" if middle < self._size[0] * 0.3 else "end" if middle > self._size[0] * 0.7 else "middle"
        said = f"{known[0]:.3f} to {known[-1]:.3f}" if many else ", ".join(f"{value:.3f}" for value in known)
        self._parts.append(_text(middle, TOP - 4, words(said), anchor, "threshold"))

    def svg(self) -> str:
        """The element."""
        return _svg(self._size, self._label, self._parts)

    def _add(self, tag: str, kind: str, shape: str, hint: str) -> None:
        title = f"<title>{escape(hint)}</title>" if hint else ""
        self._parts.append(f'<{tag} class="{kind}" {shape}>{title}</{tag}>')


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) between `low` and `high`, about so many."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class ScoreHistogram:
    """How the scores of one filter are spread over accepted and rejected attempts.

    Attributes:
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

    def chart(self) -> Chart:
        """Stacked bars, and the threshold as a line, or as a band where it differs by class."""
        accepted, rejected = sum(self.accepted), sum(self.rejected)
        tallest = max(1, *map(sum, zip(self.accepted, self.rejected, strict=True)))
        plot = Plot(Axis("", self.edges[0], self.edges[-1]), Axis("", 0, max(tallest, nice_ticks(0, tallest, 4)[-1]),
                                                                  about=4),
                    f"{accepted} accepted and {rejected} rejected attempts by score", (560, 240))
        for low, high, below, above in zip(self.edges, self.edges[1:], self.accepted, self.rejected, strict=False):
            for kind, base, count in (("accepted", 0, below), ("rejected", below, above)):
                if count:
                    plot.bar((low, high), (base, base + count), kind, f"{low:.3f} to {high:.3f}: {count} {kind}")
        one = len(set(self.thresholds.values())) <= MAX_LINES
        plot.limits(self.thresholds.values(), ("threshold {}" if one else "thresholds by class, {}").format)
        return Chart(plot.svg(), self.name, {"accepted": f"accepted {accepted}", "rejected": f"rejected {rejected}"})


def matrix_svg(rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]], label: str) -> str:
    """Counts of each pair of classes; the darker, the larger the share of the row.

    Args:
        rows: Classes that were asked for.
        columns: Classes that were seen.
        counts: As many rows of as many numbers.
        label: What a screen reader says.
    """
    size = LABEL_WIDTH + len(columns) * CELL + OVERHANG, LABEL_HEIGHT + len(rows) * CELL + 4
    parts = [f'<text class="axis" transform="translate({LABEL_WIDTH + place * CELL + CELL / 2 + 4} {LABEL_HEIGHT - 6}) '
             f'rotate(-60)">{escape(name)}</text>' for place, name in enumerate(columns)]
    for row, (name, numbers) in enumerate(zip(rows, counts, strict=True)):
        y, n = LABEL_HEIGHT + row * CELL, sum(numbers)
        parts.append(_text(LABEL_WIDTH - 6, y + 15, name, "end"))
        for column, count in enumerate(numbers):
            x, seen = LABEL_WIDTH + column * CELL, columns[column]
            place = f'x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}"'
            parts.append(f'<rect class="empty" {place}/>')
            if count:
                kind, share = "accepted" if name == seen else "rejected", count / n
                words = _text(x + CELL / 2 - 0.5, y + 15, str(count), "middle", "on" if share > 0.55 else "count")
                parts.append(f"<g><title>{escape(name)} seen as {escape(seen)}: {count} of {n}</title>"
                             f'<rect class="{kind}" opacity="{0.15 + 0.85 * share:.2f}" {place}/>{words}</g>')
    return _svg(size, label, parts, "matrix")


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most about `MOST_POINTS` of the points, evenly by the logarithm of their number, the first and last kept."""
    if len(points) <= MOST_POINTS:
        return list(points)
    steps = [round(len(points) ** (step / (MOST_POINTS - 1))) for step in range(MOST_POINTS)]
    return [points[place - 1] for place in dict.fromkeys(steps)]


def _svg(size: tuple[int, int], label: str, parts: Iterable[str], kind: str = "plot") -> str:
    width = f"max-width:{1.2 * size[0]:.0f}px" + f";min-width:{0.8 * size[0]:.0f}px" * (kind == "matrix")
    return (f'<svg class="{kind}" viewBox="0 0 {size[0]} {size[1]}" style="{width}" role="img" '
            f'aria-label="{escape(label)}">{"".join(parts)}</svg>')


def _text(x: float, y: float, words: str, anchor: str, kind: str = "axis") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
