"""Airports: a runway, a taxiway beside it, and airplanes at their stands, noses to the terminal."""

from __future__ import annotations

from terrasynth.prompts.layouts.catalog import Airplane
from terrasynth.prompts.layouts.geometry import rectangle
from terrasynth.prompts.layouts.rules.site import Site

APART = 168.0  # meters from runway to taxiway (ICAO Annex 14, instrument runway of code 4, letters C and D: 158 to 176)


def stands(site: Site) -> None:
    """An apron with airplanes beside each other."""
    site.turn, site.ground = site.between(0, 360), "apron"
    largest = site.side * 0.55
    least = 9 if largest < 36 else 24
    known = site.airplanes(least, max(largest, 12)) or site.airplanes(9, 18)
    types = _alike(site, known)
    pitch = max(one.span + one.clearance for one in types)
    deep = max(one.length for one in types)
    top = -site.between(0.1, 0.45) * site.side - deep / 2
    if site.draws.chance(0.6):  # a terminal, at which they stand nose in
        wall = top - site.between(6, 10)
        site.put("building", 0, wall - 14, 90, site.reach * 2.2, 28, site.color("building"))
    _row(site, types, top, pitch, 0)
    second = top + 2 * deep + pitch * 0.9 + 8
    if second - deep < site.reach and site.draws.chance(0.6):
        _row(site, types, second, pitch, 180)
    if site.draws.chance(0.4):
        site.patch("lawn", rectangle(-site.reach * 1.2, second + deep + 8, site.reach * 1.2, site.reach * 2))


def airport(site: Site) -> None:
    """Runway, taxiways, apron, terminal and parking lot."""
    site.turn = site.between(0, 180)
    reach, width = site.reach * 1.1, site.width("runway")
    runway = -site.between(0.12, 0.3) * site.side
    taxiway = runway + min(APART, site.side * 0.3)
    _strips(site, runway, taxiway, width)
    types = _alike(site, site.airplanes(24, 65 if site.side > 350 else 36))
    deep = max(one.length for one in types)
    pitch = max(one.span + one.clearance for one in types)
    apron = taxiway + 14
    wide = site.between(0.5, 0.8) * site.side
    site.patch("apron", rectangle(-wide / 2, taxiway, wide / 2, apron + 2.4 * deep))
    nose = apron + 2.2 * deep
    _row(site, types, nose, pitch, 180, wide / 2)
    site.put("building", 0, nose + 9 + 16, 90, wide * 0.9, 32, site.color("building"))
    road = nose + 60
    line = site.way("street", [(-reach, road), (reach, road)], 8.0)
    site.traffic(line, 6.4, 50)
    site.stalls(-wide / 3, road + 8, wide / 3, road + 60, site.between(0.4, 0.9))
    if site.draws.chance(0.3):
        one = site.draws.pick(types)
        _airplane(site, one, site.between(-0.4, 0.4) * site.side, taxiway, site.draws.pick([90, 270]))


def runway(site: Site) -> None:
    """A runway with its taxiway on grass."""
    site.turn = site.between(0, 180)
    at = site.between(-0.15, 0.1) * site.side
    taxiway = at + min(APART, site.side * 0.33)
    _strips(site, at, taxiway, site.width("runway"))
    if site.draws.chance(0.5):
        one = site.draws.pick(site.airplanes(10, 48))
        _airplane(site, one, site.between(-0.4, 0.4) * site.side, site.draws.pick([at, taxiway]),
                  site.draws.pick([90, 270]))
    site.trees(12, -site.reach, -site.reach, site.reach, at - 70)


def _alike(site: Site, known: list[Airplane]) -> list[Airplane]:
    """Types that stands of one size serve."""
    first = site.draws.pick(known)
    alike = [one for one in known if 0.7 * first.span <= one.span <= 1.05 * first.span]
    return [first, *site.draws.shuffled(alike)[:1]]


def _row(site: Site, types: list[Airplane], nose: float, pitch: float, heading: float, half: float = 0.0) -> None:
    """Airplanes in a row along x, their noses on one line."""
    half = half or site.reach
    count = int(2 * half / pitch)
    full = site.between(0.45, 1.0)
    away = 1 if heading == 0 else -1
    for number in range(count):
        if site.draws.chance(full):
            one = site.draws.pick(types)
            x = -half + pitch * (number + 0.5 + (2 * half / pitch - count) / 2)
            _airplane(site, one, x, nose + away * one.length / 2, heading + site.between(-1.5, 1.5))


def _airplane(site: Site, one: Airplane, x: float, y: float, heading: float) -> None:
    site.put("airplane", x, y, heading, one.length, one.span, site.color("airplane"), one.clearance / 2 - 0.1)


def _strips(site: Site, runway: float, taxiway: float, width: float) -> None:
    """A runway and a taxiway along x, with ways between them."""
    reach, narrow = site.reach * 1.1, site.width("taxiway")
    site.way("taxiway", [(-reach, taxiway), (reach, taxiway)], narrow)
    x = -reach + site.between(20, 120)
    while x < reach:
        lean = site.draws.pick([0.0, 0.0, 60.0, -60.0])
        site.way("taxiway", [(x, taxiway), (x + lean, runway)], narrow)
        x += site.between(140, 320)
    site.way("runway", [(-reach, runway), (reach, runway)], width, 1)
