"""Harbors: boats in berths along piers, ships at quays and at sea."""

from __future__ import annotations

from terrasynth.prompts.layouts.geometry import rectangle
from terrasynth.prompts.layouts.rules.site import Site


def harbor(site: Site) -> None:
    """A marina, or now and then, where the image is large enough for ships, a port."""
    if site.side > 120 and site.draws.chance(0.3):
        port(site)
    else:
        marina(site)


def marina(site: Site) -> None:
    """Piers that stand out from a quay, with boats in berths on both sides."""
    site.turn, site.ground = site.between(0, 360), "water"
    reach = site.reach * 1.2
    quay = -site.between(0.1, 0.45) * site.side
    site.patch("land", rectangle(-reach, -reach * 2, reach, quay))
    length = site.between(8, 16)
    berth = length * 0.3 + 1.4
    step = 2 * length + site.width("pier") + site.between(1.4, 1.8) * length  # a fairway of 1.5 lengths between tips
    x = -reach + site.between(0, step)
    far = quay + site.between(0.6, 1.5) * site.side
    full = site.between(0.45, 0.98)
    while x < reach:
        width = site.width("pier")
        site.way("pier", [(x, quay), (x, far)], width)
        for side in (1, -1):
            y = quay + 4
            while y < far - berth:
                if site.draws.chance(full):
                    long = length * site.between(0.72, 1.0)
                    wide = min(berth - 0.9, long * site.between(0.27, 0.34))
                    site.put("boat", x + side * (width / 2 + 0.6 + long / 2), y + berth / 2,
                             site.draws.pick([90, 270]) + site.between(-1.5, 1.5), long, wide, site.color("boat"), 0.2)
                y += berth
        x += step
    _ashore(site, quay)


def port(site: Site) -> None:
    """Ships at a quay with containers."""
    site.turn, site.ground = site.between(0, 360), "water"
    reach = site.reach * 1.2
    quay = site.between(-0.25, 0.1) * site.side
    site.patch("gravel", rectangle(-reach, -reach * 2, reach, quay))
    x = -site.reach + site.between(0, 60)
    while x < site.reach:
        length = min(site.between(60, 230), site.side * 0.8)
        width = length * site.between(0.13, 0.17)
        site.put("ship", x + length / 2, quay + width / 2 + 2, site.draws.pick([90, 270]), length, width,
                 site.color("ship"), 1.5)
        x += length + site.between(20, 120)
    _containers(site, quay)
    if site.draws.chance(0.5):
        length = site.between(60, 140)
        site.put("ship", site.between(-0.3, 0.3) * site.side, quay + 0.35 * site.side + 30, site.between(60, 120),
                 length, length * 0.16, site.color("ship"), 10)


def at_sea(site: Site) -> None:
    """Ships on open water, underway or at anchor, all with the wind."""
    site.ground, site.turn = "water", site.between(0, 360)
    wind = site.draws.chance(0.5)
    for _ in range(site.draws.pick([1, 1, 2, 3, 4])):
        length = site.between(60, max(70.0, min(295.0, site.side * 0.55)))
        spread = site.half * 0.75
        site.put("ship", site.between(-spread, spread), site.between(-spread, spread),
                 site.between(-8, 8) if wind else site.between(0, 360), length,
                 min(32.3, length * site.between(0.13, 0.17)), site.color("ship"), 25)


def _ashore(site: Site, quay: float) -> None:
    """A road along the quay, a parking lot and a few buildings behind it."""
    reach, width = site.reach * 1.1, site.width("street")
    road = quay - 6 - width / 2
    line = site.way("street", [(-reach, road), (reach, road)], width)
    site.traffic(line, 6.4, 40)
    x, top = -site.reach, road - width / 2 - 4
    while x < site.reach:
        wide = site.between(22, 48)
        if site.draws.chance(0.35):
            site.stalls(x, top - 24, x + wide, top, site.between(0.3, 0.9))
        elif site.draws.chance(0.6):
            deep = site.between(10, 22)
            long, short, heading = (wide - 8, deep, 90) if wide - 8 >= deep else (deep, wide - 8, 0)
            site.put("building", x + wide / 2, top - deep / 2 - 3, heading, long, short, site.color("building"))
        else:
            site.trees(8, x, top - 26, x + wide, top)
        x += wide


def _containers(site: Site, quay: float) -> None:
    """Stacks of containers in blocks along the quay, with lanes between them."""
    y = quay - 34
    while y > -site.reach:
        x = -site.reach
        while x < site.reach:
            for column in range(site.draws.pick([3, 5, 7])):
                for row in range(4):
                    if site.draws.chance(0.8):
                        site.put("container", x + 6.3 + column * 12.7, y - row * 2.9, 90, 12.19, 2.44,
                                 site.color("container"), 0.05)
            x += 12.7 * 7 + 12
        y -= 4 * 2.9 + site.between(9, 14)
