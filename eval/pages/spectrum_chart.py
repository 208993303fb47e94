"""Radial power spectra as inline SVG, drawn by the page's own colors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from terrasynth.eval.pages.charts import nice_ticks

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 260, 50, 14, 14, 42
TICKS = (0.0, 0.125, 0.25, 0.375, 0.5)


def spectrum_svg(frequency: Sequence[float], curves: Mapping[str, tuple[str, Sequence[float]]]) -> str:
    """Power over frequency, a line for each set of images.

    Args:
        frequency: Cycles per pixel, rising, from 0 to 0.5.
        curves: Class of the line in the style sheet -> name of the images, and their power in dB.
    """
    values = [value for _, power in curves.values() for value in power]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    low, high = low - 0.05 * span, high + 0.05 * span

    def x(value: float) -> float:
        return LEFT + value / 0.5 * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
             f'<text class="axis" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
             for tick in nice_ticks(low, high, 5)]
    parts += [f'<text class="axis" x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
              for tick in TICKS]
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
                 'cycles per pixel; power in dB</text>')
    for kind, (name, power) in curves.items():
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(frequency, power, strict=True))
        parts.append(f'<polyline class="curve {escape(kind)}" points="{points}"><title>{escape(name)}</title>'
                     '</polyline>')
    label = "Power spectrum of " + ", ".join(name for name, _ in curves.values())
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
