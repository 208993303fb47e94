"""A chart of `eval downstream`: an SVG element in the page's own colours."""

from __future__ import annotations

from dataclasses import dataclass

from terrasynth.synthesis.studies.downstream.arms import ARMS, SYNTHETIC
from terrasynth.synthesis.studies.downstream.cells import TaskFindings
from terrasynth.synthesis.studies.downstream.figures import Interval

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 16, 44
APART = 13
"""Pixels between the marks of two arms at one share, so that their bars do not hide each other."""


@dataclass(frozen=True)
class Frame:
    """Where values and shares lie.

    Attributes:
        low: Value at the bottom.
        high: Value at the top.
        shares: How many shares stand side by side.
    """

    low: float
    high: float
    shares: int

    def y(self, value: float) -> float:
        """Pixels from the top."""
        place = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)

    def x(self, share: int) -> float:
        """Pixels from the left of the middle of a share."""
        return LEFT + (WIDTH - LEFT - RIGHT) / self.shares * (share + 0.5)


def chart(findings: TaskFindings) -> str:
    """The metric that is judged against the share of the real pictures: a line an arm, its interval as a bar.

    `synthetic only` has no share and is a level line, as is chance. Colours are the classes `arm0` to `arm5`.
    """
    from terrasynth.eval.pages.charts import nice_ticks

    metric = findings.metrics[0]
    figures = {(each.arm, each.percent): each.metrics[metric] for each in findings.arms}
    ends = [end for each in figures.values() for end in (each.low, each.high, each.value) if end is not None]
    ends += [findings.chance[metric]] if metric in findings.chance else []
    frame = Frame(max(0.0, min(ends) - 0.02), max(ends) + 0.02, len(findings.percents))
    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{frame.y(t):.1f}" y2="{frame.y(t):.1f}"/>'
             f'<text class="axis" x="{LEFT - 6}" y="{frame.y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
             for t in nice_ticks(frame.low, frame.high, 5)]
    parts += [f'<text class="axis" x="{frame.x(place):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
              f"{percent:g} %</text>" for place, percent in enumerate(findings.percents)]
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
                 "share of the real training pictures</text>")
    if metric in findings.chance:
        parts.append(_level("chance", "chance", findings.chance[metric], frame))
    for number, arm in enumerate(ARMS):
        if arm == SYNTHETIC:
            parts.append(_level(f"arm{number}", arm, figures[arm, 0.0].value, frame))
        else:
            parts.append(_line(number, arm, [figures[arm, percent] for percent in findings.percents], findings, frame))
    label = f"{metric} by share of the real training pictures; the table has the same figures"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _level(kind: str, name: str, value: float, frame: Frame) -> str:
    return (f'<line class="{kind} level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{frame.y(value):.1f}" '
            f'y2="{frame.y(value):.1f}"><title>{name}: {value:.3f}</title></line>'
            f'<text class="axis" x="{LEFT + 4}" y="{frame.y(value) - 5:.1f}">{name}</text>')


def _line(number: int, arm: str, figures: list[Interval], findings: TaskFindings, frame: Frame) -> str:
    offset = (number - (len(ARMS) - 2) / 2) * APART
    places = [(frame.x(share) + offset, frame.y(each.value)) for share, each in enumerate(figures)]
    marks = [f'<polyline class="arm{number}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>']
    for (x, y), each, percent in zip(places, figures, findings.percents, strict=True):
        if each.low is not None and each.high is not None:
            marks.append(f'<line class="arm{number}" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.y(each.low):.1f}" '
                         f'y2="{frame.y(each.high):.1f}"/>')
        marks.append(f'<circle class="arm{number}" cx="{x:.1f}" cy="{y:.1f}" r="4">'
                     f"<title>{arm}, {percent:g} %: {each.words()}</title></circle>")
    return "".join(marks)
