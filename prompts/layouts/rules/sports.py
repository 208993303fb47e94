"""Courts and fields at their own sizes, side by side."""

from __future__ import annotations

import math

import numpy as np

from terrasynth.prompts.layouts.geometry import placed, rectangle, ring
from terrasynth.prompts.layouts.rules.site import Site

RUN_OFF = {"tennis_court": (6.40, 3.66), "basketball_court": (2.0, 2.0)}
"""Free meters behind and beside a court: ITF's recommendation; FIBA's rule."""


def tennis(site: Site) -> None:
    """Tennis courts in rows, long side north to south as the sun asks for, give or take."""
    _courts(site, "tennis_court", site.draws.pick([(1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (4, 2)]))


def basketball(site: Site) -> None:
    """Basketball courts, alone or two or three beside each other."""
    _courts(site, "basketball_court", site.draws.pick([(1, 1), (1, 1), (2, 1), (3, 1), (2, 2)]))


def baseball(site: Site) -> None:
    """One to four baseball diamonds; where there are several, they look outward from one place."""
    site.turn, site.ground = site.between(0, 360), "grass"
    long = site.between(61, 120)
    count = site.draws.pick([1, 1, 2, 4]) if site.side > 2.6 * long else 1
    bases = 27.43 if long > 90 else 18.29  # MLB; Little League
    off = 0.0 if count == 1 else 14.0
    for number in range(count):
        heading = number * (180 if count == 2 else 90)
        turn = math.radians(heading)
        shift = off - (0.35 * long if count == 1 else 0.0)
        _diamond(site, (shift + long / 2) * math.sin(turn), -(shift + long / 2) * math.cos(turn), heading, long, bases)
    _around(site)


def track_field(site: Site) -> None:
    """A 400 m track around a soccer field (World Athletics: bends of 36.5 m, straights of 84.39 m, eight lanes)."""
    site.turn, site.ground = site.between(0, 180), "grass"
    inner, straight, lanes = 36.5, 84.39, site.draws.pick([6, 8]) * 1.22
    site.patch("running_track", _stadium(straight, inner + lanes))
    site.patch("grass", _stadium(straight, inner))
    site.put("soccer_field", 0, 0, 90, site.between(95, 105), site.between(60, 66), "green")
    site.keep_out(0, 0, 90, straight + 2 * (inner + lanes) + 6, 2 * (inner + lanes) + 6)
    edge = inner + lanes + 8
    if site.draws.chance(0.7):
        site.put("building", site.between(-15, 15), -edge - 8, 90, site.between(50, 90), 13, site.color("building"))
    _around(site)
    if site.draws.chance(0.5):
        site.stalls(-60, edge + 4, 60, edge + 40, site.between(0.2, 0.9))


def soccer(site: Site) -> None:
    """Soccer fields beside each other, with trees around."""
    site.turn, site.ground = site.between(0, 180), "grass"
    long, wide = site.size("soccer_field")
    count = site.draws.pick([1, 1, 2, 3])
    for number in range(count):
        site.put("soccer_field", 0, (number - (count - 1) / 2) * (wide + 9), 90, long, wide, "green", 2)
    if site.draws.chance(0.6):
        left = -long / 2 - 46
        site.put("basketball_court", left + 22, 0, 0, 28.0, 15.0, site.color("basketball_court"), 2)
    if site.draws.chance(0.6):
        x = long / 2 + 10
        site.stalls(x, -25, x + 36, 25, site.between(0.2, 0.9))
    _around(site)


def _courts(site: Site, kind: str, count: tuple[int, int]) -> None:
    site.turn, site.ground = site.between(-25, 25) if site.draws.chance(0.7) else site.between(0, 180), "grass"
    long, wide = site.size(kind)
    behind, beside = RUN_OFF[kind]
    columns, rows = count
    high, step = long + 2 * behind, wide + 1.4 * beside
    columns = min(columns, max(1, int(site.side * 0.9 / step)))
    rows = min(rows, max(1, int(site.side * 0.9 / high)))
    color = site.color(kind)
    fence = rectangle(-columns * step / 2 - beside, -rows * high / 2, columns * step / 2 + beside, rows * high / 2)
    shift = site.between(-0.25, 0.25) * site.half, site.between(-0.25, 0.25) * site.half
    site.patch(site.draws.pick(["land", "clay", "path"]), ring((x + shift[0], y + shift[1]) for x, y in fence))
    for column in range(columns):
        for row in range(rows):
            site.put(kind, shift[0] + (column - (columns - 1) / 2) * step, shift[1] + (row - (rows - 1) / 2) * high, 0,
                     long, wide, color, 0.4)
    site.keep_out(*shift, 0, rows * high + 2, columns * step + 2 * beside + 2)
    edge = shift[1] + rows * high / 2 + 3
    use = site.draws.pick(["lot", "street", "houses", "none"])
    reach = site.reach * 1.1
    if use == "lot":
        site.stalls(-reach, edge, reach, edge + 18, site.between(0.2, 0.9))
    elif use != "none":
        width = site.width("street")
        line = site.way("street", [(-reach, edge + width / 2), (reach, edge + width / 2)], width)
        site.traffic(line, 6.4, 40)
        if use == "houses":
            x = -site.reach
            while x < site.reach:
                length, deep = site.size("house")
                site.put("house", x, edge + width + 5 + deep / 2, 90, length, deep, site.color("house"), 2)
                x += length + site.between(5, 12)
    _around(site)


def _around(site: Site) -> None:
    site.trees(round(min(45, site.side / 3)), -site.reach, -site.reach, site.reach, site.reach)


def _diamond(site: Site, x: float, y: float, heading: float, long: float, bases: float) -> None:
    """A field with its infield of clay and a square of grass within the bases."""
    if not site.put("baseball_diamond", x, y, heading, long, long * math.sqrt(2), "green", 0.5):
        return
    home = placed(np.array([[0.0, -0.5]]), x, y, heading, long, 1)[0]
    far = bases * 1.02
    turn = np.linspace(-math.pi / 4, math.pi / 4, 9)
    rim = np.stack([np.sin(turn), np.cos(turn)], axis=1) * (bases + 11.0)
    rim = np.concatenate([[[0.0, -3.0]], rim])
    site.patch("clay", ring(placed(rim, home[0], home[1], heading, 1, 1)))
    square = np.array([[0.0, 3.0], [far / 2 - 1, far / 2 + 2], [0.0, far * 1.1], [-far / 2 + 1, far / 2 + 2]])
    site.patch("grass", ring(placed(square, home[0], home[1], heading, 1, 1)))


def _stadium(straight: float, radius: float) -> tuple[tuple[float, float], ...]:
    turn = np.linspace(-math.pi / 2, math.pi / 2, 15)
    right = np.stack([straight / 2 + radius * np.cos(turn), radius * np.sin(turn)], axis=1)
    return ring([*right, *-right])
