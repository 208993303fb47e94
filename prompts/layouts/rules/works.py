"""Parking lots, tank farms and railways."""

from __future__ import annotations

import numpy as np

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.geometry import rectangle, walk
from terrasynth.prompts.layouts.rules.site import Site


def parking(site: Site) -> None:
    """A parking lot, more or less full; a street, grass or a building at its side."""
    site.turn, site.ground = site.between(0, 90), site.draws.pick(["lawn", "land"])
    edge, reach = site.between(0.15, 0.8) * site.half, site.reach * 1.1
    site.stalls(-reach, -reach, reach, edge, site.between(0.25, 0.97))
    beside = site.draws.pick(["street", "building", "trees"])
    if beside == "street":
        width = site.width("street")
        line = site.way("street", [(-reach, edge + 3 + width / 2), (reach, edge + 3 + width / 2)], width)
        site.traffic(line, 6.4, 30)
    elif beside == "building":
        deep = site.between(18, 40)
        site.put("building", site.between(-0.3, 0.3) * site.half, edge + 6 + deep / 2, 90, max(deep, site.half * 1.2),
                 deep, site.color("building"))
    site.trees(14, -reach, edge + 4, reach, reach)


def tanks(site: Site) -> None:
    """Tanks in rows within walls of earth, service roads around.

    Between tanks lies half the smaller diameter or more (NFPA 30 asks for a sixth to a quarter of the sum).
    """
    site.turn, site.ground = site.between(-10, 10) if site.draws.chance(0.5) else site.between(-45, 45), "lawn"
    width = site.width("street")
    across = min(site.between(9, 70), site.side * 0.32)
    pitch = across * site.between(1.5, 1.9)
    columns, rows = site.draws.pick([1, 2, 2, 3]), site.draws.pick([1, 2, 2])
    wide, high = columns * pitch + 8, rows * pitch + 8
    x0 = -site.reach + site.between(-0.8, 0) * wide
    y0 = -site.reach + site.between(-0.8, 0) * high
    x = x0
    while x < site.reach:
        y = y0
        while y < site.reach:
            _tank_block(site, x, y, (columns, rows), pitch, across)
            y += high + width + 8
        x += wide + width + 8
    reach = site.reach * 1.1
    for x in np.arange(x0 - width / 2 - 4, reach, wide + width + 8):
        site.way("street", [(x, -reach), (x, reach)], width)
    for y in np.arange(y0 - width / 2 - 4, reach, high + width + 8):
        line = site.way("street", [(-reach, y), (reach, y)], width)
        site.traffic(line, 6.4, 120, trucks=0.5)


def railway(site: Site) -> None:
    """Tracks beside each other, with a train or two."""
    site.turn, site.bends = site.between(0, 180), site.draws.pick([0.0, 0.12])
    site.ground = site.draws.pick(["lawn", "land", "lawn"])
    count, width, apart = site.draws.pick([1, 2, 2, 4, 6]), site.width("railway"), 4.7
    reach = site.reach * 1.1
    first = -(count - 1) / 2 * apart
    site.patch("gravel", rectangle(-reach, first - 4, reach, -first + 4))
    for number in range(count):
        line = site.way("railway", [(-reach, first + number * apart), (reach, first + number * apart)], width)
        if site.draws.chance(0.5):
            _train(site, line)
    edge = -first + 12
    if site.draws.chance(0.6):
        line = site.way("street", [(-reach, edge + 5), (reach, edge + 5)], site.width("street"))
        site.traffic(line, 6.4, 60)
        x = -site.reach
        while x < site.reach:
            length, wide = site.size("house")
            site.put("house", x, edge + 20 + wide / 2, 90, length, wide, site.color("house"), 2)
            x += length + site.between(6, 20)
    site.trees(50, -reach, -reach, reach, first - 6)
    site.trees(20, -reach, edge + 45, reach, reach)


def _tank_block(site: Site, x: float, y: float, count: tuple[int, int], pitch: float, across: float) -> None:
    columns, rows = count
    wide, high = columns * pitch + 8, rows * pitch + 8
    site.patch("soil", rectangle(x, y, x + wide, y + high))  # the wall
    site.patch(site.draws.pick(["gravel", "land"]), rectangle(x + 2.5, y + 2.5, x + wide - 2.5, y + high - 2.5))
    color = site.color("tank")
    for column in range(columns):
        for row in range(rows):
            if site.draws.chance(0.9):
                size = max(load_catalog().things["tank"].length[0], across * site.draws.pick([1.0, 1.0, 0.85]))
                site.put("tank", x + 4 + pitch * (column + 0.5), y + 4 + pitch * (row + 0.5), 0, size, size, color, 1)


def _train(site: Site, line: np.ndarray) -> None:
    """Cars of one length, coupled."""
    length, wide = site.between(14, 26.4), site.between(2.8, 3.1)
    color, start = site.color("train_car"), site.between(0, 1.0) * site.side
    places = walk(line, length + 1.2, start)
    for x, y, heading in places[: site.draws.pick([4, 8, 20])]:
        site.put("train_car", x, y, heading, length, wide, color, 0.1)
