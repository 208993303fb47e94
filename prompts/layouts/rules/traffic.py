"""Roads that meet, cross over and go round; cars keep to their lanes."""

from __future__ import annotations

import math

import numpy as np

from terrasynth.prompts.layouts.geometry import disk, rectangle
from terrasynth.prompts.layouts.rules.site import Site


def freeway(site: Site) -> None:
    """Two carriageways with a median, trees or houses beside them."""
    site.turn, site.bends = site.between(0, 180), 0.12 if site.draws.chance(0.5) else 0.0
    edge = _carriageways(site, True)
    _beside(site, edge)


def overpass(site: Site) -> None:
    """A freeway, and a road or two that cross over it."""
    site.turn = site.between(0, 180)
    edge = _carriageways(site, True)
    width = site.width("avenue")
    lean = site.between(-0.35, 0.35)
    reach = site.reach * 1.1
    line = site.way("avenue", [(-lean * reach, -reach), (lean * reach, reach)], width, 2)
    site.take_away(line, width / 2 + 1.5)  # cars that are under the bridge now
    site.traffic(line, width, 30, 2)
    if site.draws.chance(0.5):  # a ramp from one to the other
        ramp = [(-reach, edge - 2.5), (-reach / 2, edge + 3), (-reach / 5, edge + 14), (lean * 45, edge + 45)]
        site.way("street", ramp, 6.0, 0)
    site.trees(30, -site.reach, edge + 8, site.reach, edge + 60)
    site.trees(20, -site.reach, -edge - 60, site.reach, -edge - 8)


def intersection(site: Site) -> None:
    """Two roads that meet, buildings at the corners."""
    site.turn = site.between(0, 90)
    site.ground = site.draws.pick(["land", "lawn"])
    widths = site.width("avenue"), site.draws.pick([site.width("avenue"), site.width("street")])
    tee = site.draws.chance(0.25)
    reach = site.reach * 1.1
    arms = [((-reach, 0.0), (0.0, 0.0), widths[0]), ((0.0, 0.0), (reach, 0.0), widths[0]),
            ((0.0, 0.0), (0.0, reach), widths[1])]
    arms += [] if tee else [((0.0, -reach), (0.0, 0.0), widths[1])]
    for a, b, width in arms:
        site.way("path", [a, b], width + 5, -1)
    for a, b, width in arms:
        site.way("avenue" if width > 12.5 else "street", [a, b], width)
    for a, b, width in arms:
        _arm(site, a, b, width, max(widths) / 2 + 6)
    _corners(site, max(widths) / 2 + 8)


def roundabout(site: Site) -> None:
    """A ring with a green island, and the roads that meet it."""
    site.turn = site.between(0, 90)
    radius, width = site.between(13, min(28.0, site.half * 0.5)), site.width("street")
    arms, reach = site.draws.pick([3, 4, 4, 5]), site.reach * 1.1
    for number in range(arms):
        turn = 2 * math.pi * number / arms
        ends = [(radius * math.cos(turn), radius * math.sin(turn)), (reach * math.cos(turn), reach * math.sin(turn))]
        line = site.way("avenue", ends, width * 1.6)
        site.traffic(line[:1] + (line[1:] - line[:1]) * np.array([[0.12], [1.0]]), 7.0, 30)
    ring = np.array(disk(0, 0, radius, 28))
    ring = np.concatenate([ring, ring[:1]])
    site.way("avenue", ring.tolist(), width * 1.3, 1)
    site.patch("lawn", disk(0, 0, radius - width * 0.65, 28))
    site.traffic(ring[::-1], width, 26, 1, one_way=True)
    site.trees(4, -radius / 3, -radius / 3, radius / 3, radius / 3)
    _corners(site, radius + width + 8)


def bridge(site: Site) -> None:
    """A river, and a road over it."""
    site.turn = site.between(0, 180)
    wide = site.between(0.25, 0.5) * site.side
    site.way("river", site.line_across(site.side * 0.05).tolist(), wide)
    reach = site.reach * 1.1
    width = site.width("avenue")
    line = site.way("avenue", [(0.0, -reach), (0.0, reach)], width, 2)
    site.traffic(line, width, 28, 2)
    if site.draws.chance(0.4):
        length, across = site.between(12, 20), site.between(3.5, 5)
        site.put("boat", site.between(14, site.half * 0.7), site.between(-0.3, 0.3) * wide,
                 site.draws.pick([90, 270]), length, across, site.color("boat"))
    for sign in (1, -1):
        near = sign * (wide / 2 + site.side * 0.06 + 8)
        site.trees(25, -site.reach, min(near, near + sign * 50), site.reach, max(near, near + sign * 50))


def _carriageways(site: Site, busy: bool) -> float:
    """A freeway along x; how far its outer border lies from the middle."""
    width, median, reach = site.width("carriageway"), site.between(3, 12), site.reach * 1.1
    lanes = max(2, int((width - 3) / 3.6))
    spacing = site.draws.pick([22, 35, 60]) if busy else 60
    for sign in (1, -1):  # driving on the right: to the right below the median
        y = sign * (median + width) / 2
        line = site.way("carriageway", [(-sign * reach, y), (sign * reach, y)], width)
        site.traffic(line, width - 3, spacing, lanes, one_way=True, trucks=0.18)
    return median / 2 + width


def _beside(site: Site, edge: float) -> None:
    for sign in (1, -1):
        use = site.draws.pick(["trees", "houses", "fields"])
        near, far = sign * (edge + 9), sign * (edge + 70)
        low, high = min(near, far), max(near, far)
        if use == "houses":
            y = sign * (edge + 34)
            line = site.way("street", [(-site.reach * 1.1, y), (site.reach * 1.1, y)], site.width("street"))
            site.traffic(line, 6.4, 70)
            for side in (1, -1):
                x = -site.reach
                while x < site.reach:
                    length, width = site.size("house")
                    site.put("house", x, y + side * (14 + width / 2 - 4), 90, length, width, site.color("house"), 2)
                    x += site.between(20, 30)
        elif use == "fields":
            site.patch(site.draws.pick(["crops", "stubble", "soil"]), rectangle(-site.reach * 1.1, low,
                                                                                 site.reach * 1.1, high))
        site.trees({"trees": 50, "houses": 12, "fields": 4}[use], -site.reach, low, site.reach, high)


def _arm(site: Site, a: tuple[float, float], b: tuple[float, float], width: float, stop: float) -> None:
    """Cars of one arm, none of them in the middle of the crossing."""
    outer = a if b == (0.0, 0.0) else b
    far = math.hypot(*outer)
    line = np.array([(outer[0] * stop / far, outer[1] * stop / far), outer])
    site.traffic(line, width, site.draws.pick([9, 14, 25]), 2 if width > 12.5 else 1)


def _corners(site: Site, near: float) -> None:
    for right in (1, -1):
        for down in (1, -1):
            use = site.draws.pick(["building", "building", "trees", "lot"])
            size = site.between(18, 34)
            x, y = right * (near + size / 2), down * (near + size / 2)
            if use == "building":
                site.put("building", x, y, 90, size, size * site.between(0.55, 0.95), site.color("building"))
            elif use == "lot":
                site.stalls(x - size / 2, y - size / 2, x + size / 2, y + size / 2, site.between(0.3, 0.9))
            far = site.reach
            site.trees(16, min(right * near, right * far), min(down * near, down * far), max(right * near, right * far),
                       max(down * near, down * far))
