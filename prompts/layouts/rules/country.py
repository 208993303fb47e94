"""Fields, woods, parks and waters."""

from __future__ import annotations

import math

import numpy as np

from terrasynth.prompts.layouts.geometry import disk, rectangle, ring
from terrasynth.prompts.layouts.rules.site import Site

FIELDS = ("crops", "crops", "crops", "stubble", "soil", "grass")


def fields(site: Site) -> None:
    """Fields between farm tracks, split again and again; a farm, a row of trees."""
    site.turn = site.between(-45, 45)
    site.bends = site.draws.pick([0.0, 0.1])
    site.ground = "crops"
    reach = site.reach * 1.1
    _split(site, (-reach, -reach, reach, reach), max(25.0, site.side * 0.17))
    if site.draws.chance(0.7):
        at = site.between(-0.6, 0.6) * site.half
        line = site.way("country_road", [(-reach, at), (reach, at)], site.width("country_road"), 1)
        site.traffic(line, 5.6, 140)
        _farm(site, site.between(-0.5, 0.5) * site.half, at + 26)
    _hedge(site, site.between(-0.6, 0.6) * site.half)


def pivots(site: Site) -> None:
    """Round fields that a sprinkler arm waters, in squares of half a mile where the image is large enough.

    An arm of a quarter section is about 400 m long; smaller ones go down to 60 m.
    """
    site.ground = site.draws.pick(["soil", "sand", "stubble"])
    site.turn = site.between(-3, 3)
    radius = min(402.0, site.side * site.between(0.2, 0.45))
    reach, step = site.reach + radius, 2 * radius + site.between(6, 20)
    x0, y0 = site.between(-radius, radius), site.between(-radius, radius)
    count = int(reach / step) + 1
    for column in range(-count, count + 1):
        for row in range(-count, count + 1):
            if site.draws.chance(0.92):
                x, y = x0 + column * step, y0 + row * step
                site.patch(site.draws.pick(["crops", "crops", "grass", "stubble"]), disk(x, y, radius, 40))
                site.way("path", [(x, y), (x, y + radius)], 2.5)
    site.way("track", [(x0 - step / 2 - reach * 2, y0 + step / 2), (x0 + reach * 3, y0 + step / 2)], 3.5)


def orchard(site: Site) -> None:
    """Trees in rows."""
    site.turn, site.ground = site.between(-45, 45), site.draws.pick(["grass", "soil", "soil"])
    across = site.between(3.6, 6.5)
    row, step = across * site.between(1.35, 1.8), across * site.between(1.05, 1.35)
    track = site.between(-0.6, 0.6) * site.half
    reach = site.reach
    site.way("track", [(-reach * 1.1, track), (reach * 1.1, track)], 3.5)
    for y in np.arange(-reach, reach, row):
        if abs(y - track) < across / 2 + 2.5:
            continue
        for x in np.arange(-reach, reach, step):
            if site.draws.chance(0.97):
                size = across * site.between(0.88, 1.0)
                site.put("tree", float(x), float(y), site.between(0, 360), size, size, "green", 0.0)


def river(site: Site) -> None:
    """A river that comes in at one side and leaves at another, woods and fields on its banks."""
    site.turn = site.between(0, 180)
    width = min(site.width("river"), site.side * 0.35)
    line = site.line_across(site.side * 0.22)
    site.ground = site.draws.pick(["grass", "crops", "grass"])
    for part in (0.2, 0.5, 0.75):
        at = line[int(part * len(line))]
        site.patch(site.draws.pick(["wood", "wood", "crops", "stubble"]),
                   site.blob(float(at[0]), float(at[1]), site.side * site.between(0.15, 0.3)))
    if site.draws.chance(0.35):
        site.way("bank", line.tolist(), width * site.between(1.2, 1.6) + 3, -1)
    site.way("river", line.tolist(), width)
    if site.draws.chance(0.35):
        reach, x = site.reach * 1.1, site.between(-0.5, 0.5) * site.half
        road = site.way("country_road", [(x, -reach), (x, reach)], site.width("country_road"), 1)
        site.traffic(road, 5.6, 60)
    if site.draws.chance(0.4):
        middle = line[len(line) // 2]
        length = site.between(6, min(20.0, width * 0.8 + 1))
        site.put("boat", float(middle[0]), float(middle[1]), 90, length, length * 0.3, site.color("boat"))
    if site.draws.chance(0.5):
        side = site.draws.pick([1, -1])
        _farm(site, site.between(-0.4, 0.4) * site.half, side * (site.side * 0.24 + width / 2 + 20))
    site.trees(round(site.side / 4), -site.reach, -site.reach, site.reach, site.reach)


def lake(site: Site) -> None:
    """A lake or a pond with trees around it."""
    site.turn, site.ground = site.between(0, 360), "grass"
    radius = site.side * site.between(0.2, 0.36)
    x, y = site.between(-0.15, 0.15) * site.side, site.between(-0.15, 0.15) * site.side
    shore = site.blob(x, y, radius)
    if site.draws.chance(0.4):
        site.patch("sand", ring((x + (px - x) * 1.08, y + (py - y) * 1.08) for px, py in shore))
    if site.draws.chance(0.5):
        away = site.between(0, 2 * math.pi)
        site.patch("wood", site.blob(x + 1.5 * radius * math.cos(away), y + 1.5 * radius * math.sin(away), radius))
    site.patch("water", shore)
    site.keep_out(x, y, 0, radius * 2, radius * 2)
    side = site.reach * 1.1
    if site.draws.chance(0.6):
        road = y + radius * 1.35 + 12
        line = site.way("country_road", [(-side, road), (side, road)], site.width("country_road"))
        site.traffic(line, 5.6, 90)
        for number in range(site.draws.pick([0, 2, 4])):
            length, width = site.size("house")
            site.put("house", (number - 1.5) * 32, road + 16 + width / 2, 90, length, width, site.color("house"), 2)
    site.trees(round(site.side / 4), -site.reach, -site.reach, site.reach, site.reach)


def island(site: Site) -> None:
    """Land in the sea, with a beach around it."""
    site.ground, site.turn = "water", site.between(0, 360)
    radius = site.side * site.between(0.22, 0.36)
    shore = site.blob(0, 0, radius, 0.35)
    for share, kind in ((1.0, "sand"), (0.86, "grass"), (0.6, "wood")):
        if kind != "wood" or site.draws.chance(0.7):
            site.patch(kind, ring((px * share, py * share) for px, py in shore))
    for _ in range(site.draws.pick([0, 1, 2, 3])):
        turn = site.between(0, 2 * math.pi)
        site.put("boat", 1.35 * radius * math.cos(turn), 1.35 * radius * math.sin(turn), site.between(0, 360),
                 *(length := site.between(8, 20), length * 0.3), site.color("boat"), 3)


def beach(site: Site) -> None:
    """Sea, sand and what lies behind them."""
    site.ground, site.turn = "water", site.between(0, 360)
    line = site.line_across(site.side * 0.05, at=site.between(-0.2, 0.2) * site.half)
    deep = site.side * site.between(0.12, 0.3)
    far = site.reach * 2.5
    site.patch("sand", ring([*line, (site.reach * 1.1, far), (-site.reach * 1.1, far)]))
    behind = line + np.array([0.0, deep])
    site.patch(site.draws.pick(["grass", "wood", "land"]), ring([*behind, (site.reach * 1.1, far),
                                                                (-site.reach * 1.1, far)]))
    edge = float(behind[:, 1].max())
    reach = site.reach * 1.1
    if site.draws.chance(0.6):
        width = site.width("street")
        road = site.way("street", [(-reach, edge + 8 + width / 2), (reach, edge + 8 + width / 2)], width)
        site.traffic(road, 6.4, 40)
        if site.draws.chance(0.6):
            site.stalls(-reach / 2, edge + 12 + width, reach / 3, edge + 30 + width, site.between(0.3, 0.95))
    site.trees(30, -reach, edge + 2, reach, reach)
    for _ in range(site.draws.pick([0, 0, 1, 2])):
        length = site.between(6, 18)
        site.put("boat", site.between(-0.7, 0.7) * site.half, float(line[:, 1].min()) - site.between(12, 60),
                 site.between(0, 360), length, length * 0.3, site.color("boat"), 2)


def wood(site: Site) -> None:
    """Woodland with clearings, a road through it now and then."""
    site.ground, site.turn = "wood", site.between(0, 180)
    for _ in range(site.draws.pick([0, 1, 2, 3])):
        spread = site.half
        site.patch(site.draws.pick(["grass", "soil"]),
                   site.blob(site.between(-spread, spread), site.between(-spread, spread),
                             site.side * site.between(0.06, 0.16)))
    if site.draws.chance(0.6):
        kind = site.draws.pick(["country_road", "track"])
        line = site.way(kind, site.line_across(site.side * 0.15).tolist(), site.width(kind))
        if kind == "country_road":
            site.traffic(line, 5.6, 110)
    if site.draws.chance(0.2):
        site.way("river", site.line_across(site.side * 0.2, horizontal=False).tolist(), site.between(5, 12))


def meadow(site: Site) -> None:
    """Grass, a path, single trees."""
    site.turn, site.ground = site.between(0, 180), "grass"
    if site.draws.chance(0.7):
        site.way("path", site.line_across(site.side * 0.2).tolist(), site.width("path"))
    if site.draws.chance(0.3):
        site.patch("soil", site.blob(site.between(-0.5, 0.5) * site.half, site.between(-0.5, 0.5) * site.half,
                                     site.side * 0.1))
    site.trees(site.draws.pick([0, 2, 6, 15]), -site.reach, -site.reach, site.reach, site.reach)


def park(site: Site) -> None:
    """Lawns with trees, paths that cross, a pond."""
    site.turn, site.ground = site.between(0, 180), "grass"
    reach = site.reach * 1.1
    edge = site.between(0.45, 0.8) * site.half
    line = site.way("street", [(-reach, edge), (reach, edge)], site.width("street"))
    site.traffic(line, 6.4, 40)
    if site.draws.chance(0.7):
        x, y = site.between(-0.4, 0.4) * site.half, site.between(-0.6, 0.0) * site.half
        size = site.side * site.between(0.08, 0.16)
        site.patch("water", site.blob(x, y, size))
        site.keep_out(x, y, 0, size * 2.1, size * 2.1)
    for horizontal in (True, False):
        path = site.line_across(site.side * 0.12, horizontal)
        path = path[(path[:, 1] < edge)] if not horizontal else path[np.abs(path[:, 1]) < edge]
        if len(path) > 1:
            site.way("path", path.tolist(), site.width("path"))
    if site.draws.chance(0.5):
        site.put("building", site.between(-0.6, 0.6) * site.half, site.between(-0.8, -0.2) * site.half, 90,
                 site.between(14, 24), site.between(10, 13), site.color("building"), 3)
    site.trees(round(site.side / 2.2), -site.reach, -site.reach, site.reach, edge - 6)


def _split(site: Site, box: tuple[float, float, float, float], least: float) -> None:
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    if max(wide, high) < 2 * least or (max(wide, high) < 3.2 * least and site.draws.chance(0.35)):
        site.patch(site.draws.pick(FIELDS), rectangle(left, top, right, bottom))
        return
    share = site.between(0.35, 0.65)
    if wide >= high:
        x = left + share * wide
        _split(site, (left, top, x, bottom), least)
        _split(site, (x, top, right, bottom), least)
        site.way("track", [(x, top), (x, bottom)], site.width("track"))
    else:
        y = top + share * high
        _split(site, (left, top, right, y), least)
        _split(site, (left, y, right, bottom), least)
        if site.draws.chance(0.6):
            site.way("track", [(left, y), (right, y)], site.width("track"))


def _farm(site: Site, x: float, y: float) -> None:
    """Two to four buildings round a yard."""
    site.patch("gravel", rectangle(x - 22, y - 16, x + 22, y + 16))
    for dx, dy, heading in site.draws.shuffled([(-15, -8, 0), (15, -6, 0), (0, 12, 90), (14, 14, 90)])[
            : site.draws.pick([2, 3, 4])]:
        site.put("building", x + dx, y + dy, heading, site.between(12, 22), site.between(10, 12),
                 site.color("building"), 1)
    site.keep_out(x, y, 0, 34, 46)


def _hedge(site: Site, x: float) -> None:
    if site.draws.chance(0.6):
        for y in np.arange(-site.reach, site.reach, 9.0):
            site.tree(x + site.between(-1, 1), float(y), 0.0)
