"""Towns: streets first, then lots along them, then what stands on a lot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from terrasynth.prompts.layouts.geometry import rectangle
from terrasynth.prompts.layouts.rules.site import Site


class Block(NamedTuple):
    """The ground between streets, up to their borders."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Along x, in meters."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Along y, in meters."""
        return self.bottom - self.top


@dataclass(frozen=True)
class Suburb:
    """How houses stand: all lengths in meters.

    Attributes:
        home: The kind of thing that people live in.
        lot: Least and most width of a lot.
        depth: Least and most depth of a block, from street to street.
        setback: Least and most distance of a house from its street.
        trees: For each lot.
        pools: Chance of one behind a house.
        empty: Chance that a lot is not built on.
        bends: How far streets may be from straight, as a slope.
    """

    home: str = "house"
    lot: tuple[float, float] = (16, 24)
    depth: tuple[float, float] = (58, 80)
    setback: tuple[float, float] = (4.5, 8)
    trees: float = 4.5
    pools: float = 0.12
    empty: float = 0.04
    bends: float = 0.12


def suburb(style: Suburb) -> Callable[[Site], None]:
    """The rule for houses along streets."""
    def rule(site: Site) -> None:
        site.turn, site.bends = _any_turn(site), style.bends if site.draws.chance(0.6) else 0.0
        width = site.width("street")
        for block in streets(site, style.depth, (90, 190), width, "street"):
            for upper in (True, False):
                _row(site, block, style, upper)
            site.trees(round(style.trees * block.width / style.lot[1]), block.left + 4, block.top + 6,
                       block.right - 4, block.bottom - 6)
    return rule


def mobile_homes(site: Site) -> None:
    """Mobile homes in narrow rows, slanted along lanes, as parks have them."""
    site.turn = _any_turn(site)
    lean, width = site.draws.pick([0, 0, 15, -15, 25]), site.width("street")
    for block in streets(site, (44, 56), (150, 260), width, "street"):
        step = site.between(10.5, 13)
        for upper in (True, False):
            x = block.left + 5
            while x < block.right - 5:
                length, across = site.size("mobile_home")
                length = min(length, block.height / 2 - 4)
                y = block.top + 2.5 + length / 2 if upper else block.bottom - 2.5 - length / 2
                if not site.draws.chance(0.06) and site.put(
                        "mobile_home", x, y, lean if upper else 180 + lean, length, across,
                        site.color("mobile_home"), 0.8) and site.draws.chance(0.5):
                    site.car(x + across / 2 + 2.6, y + site.between(-2, 2), lean)
                x += step
        site.trees(round(block.width / 22), block.left, block.top + 4, block.right, block.bottom - 4)


def city(site: Site) -> None:
    """Blocks of buildings with parking lots and courts between them."""
    site.ground, site.turn = "land", _any_turn(site)
    width = site.width("avenue")
    for block in streets(site, (70, 110), (80, 140), width, "avenue", walks=True):
        columns, rows = max(1, round(block.width / 50)), site.draws.pick([1, 2, 2])
        for column in range(columns):
            for row in range(rows):
                cell = Block(block.left + block.width * column / columns, block.top + block.height * row / rows,
                             block.left + block.width * (column + 1) / columns,
                             block.top + block.height * (row + 1) / rows)
                _city_cell(site, cell)


def works(site: Site) -> None:
    """Large halls, yards and tanks."""
    site.ground, site.turn = "land", _any_turn(site)
    for block in streets(site, (110, 150), (130, 210), site.width("street"), "street"):
        middle = block.left + block.width * site.between(0.45, 0.7)
        _halls(site, Block(block.left + 5, block.top + 5, middle - 4, block.bottom - 5))
        _yard(site, Block(middle, block.top + 4, block.right - 4, block.bottom - 4))


def streets(
    site: Site, depth: tuple[float, float], length: tuple[float, float], width: float, kind: str, walks: bool = False
) -> Iterator[Block]:
    """Lay a net of streets and their traffic; the blocks between them.

    Args:
        depth: Least and most distance of streets that go along x.
        length: Least and most distance of those along y.
        walks: Sidewalks go along them.
    """
    across = _places(site, depth)
    along = _places(site, length)
    open_ = {(column, row): site.draws.chance(0.85)
             for column in range(1, len(along) - 1) for row in range(len(across))}
    lanes = 2 if width > 12.5 else 1
    ways = [((left, y), (right, y)) for y in across for left, right in itertools.pairwise(along)]
    for row, (top, bottom) in enumerate(itertools.pairwise(across)):
        ways += [((x, top), (x, bottom)) for column, x in enumerate(along) if open_.get((column, row), True)]
    for a, b in ways if walks else ():
        site.way("path", [a, b], width + 5, -1)
    for a, b in ways:
        line = site.way(kind, [a, b], width)
        site.traffic(line, width if lanes > 1 else min(width, 6.4), 38 if walks else 70, lanes)
    for row, (top, bottom) in enumerate(itertools.pairwise(across)):
        stops = [x for column, x in enumerate(along) if open_.get((column, row), True)]
        for left, right in itertools.pairwise(stops):
            yield Block(left + width / 2, top + width / 2, right - width / 2, bottom - width / 2)


def _places(site: Site, step: tuple[float, float]) -> list[float]:
    """Where streets lie along an axis; one is near the middle, unless the image is smaller than a block."""
    first = site.between(-0.5, 0.5) * min(step[0], site.half)
    found = [first]
    while found[-1] < site.reach:
        found.append(found[-1] + site.between(*step))
    while found[0] > -site.reach:
        found.insert(0, found[0] - site.between(*step))
    return [round(each, 2) for each in found]


def _any_turn(site: Site) -> float:
    """Many towns lie along the compass, others do not."""
    return site.between(-2, 2) if site.draws.chance(0.45) else site.between(-45, 45)


def _row(site: Site, block: Block, style: Suburb, upper: bool) -> None:
    lot = site.between(*style.lot)
    count = int(block.width / lot)
    away = 1 if upper else -1
    street = block.top if upper else block.bottom
    for number in range(count):
        x = block.left + block.width * (number + 0.5) / count
        if site.draws.chance(style.empty):
            site.trees(3, x - lot / 2, block.top + 4, x + lot / 2, block.bottom - 4)
            continue
        long, wide = site.size(style.home)
        long, wide = min(long, lot - 3.2), min(wide, block.height / 2 - style.setback[0] - 1.5)
        setback = site.between(*style.setback)
        slip = site.between(-0.5, 0.5) * max(0.0, lot - long - 3.6)
        y = street + away * (setback + wide / 2)
        heading = 90 + site.between(-1, 1)
        if min(wide, long) < 5:
            continue
        if not site.put(style.home, x + slip, y, heading, long, wide, site.color(style.home), 0.6):
            continue
        side = 1 if slip <= 0 else -1
        drive = x + slip + side * (long / 2 - 1.6)
        site.patch("path", rectangle(drive - 1.5, min(street, street + away * (setback + 0.5)), drive + 1.5,
                                     max(street, street + away * (setback + 0.5))))
        if setback > 5.2 and site.draws.chance(0.45):
            site.car(drive, street + away * (setback - 2.8), 0 if upper else 180)
        if site.draws.chance(0.22):  # at the curb, on the street's edge
            site.car(x - side * lot / 4, street - away * 1.1, 90 if upper else 270)
        if style.pools and site.draws.chance(style.pools):
            length, width = site.size("pool")
            site.put("pool", x + slip, y + away * (wide / 2 + 4 + width / 2), 90, length, width, "blue", 1.0)


def _city_cell(site: Site, cell: Block) -> None:
    use = site.draws.pick(["building"] * 7 + ["lot"] * 2 + ["green"])
    if use == "lot" and cell.width > 24 and cell.height > 22:
        site.stalls(cell.left + 3, cell.top + 3, cell.right - 3, cell.bottom - 3, site.between(0.3, 0.9))
    elif use == "green":
        site.patch("grass", rectangle(cell.left + 3, cell.top + 3, cell.right - 3, cell.bottom - 3))
        site.trees(14, cell.left + 6, cell.top + 6, cell.right - 6, cell.bottom - 6)
    else:
        wide, high = cell.width - site.between(6, 16), cell.height - site.between(6, 14)
        long, short, heading = (wide, high, 90) if wide >= high else (high, wide, 0)
        x, y = (cell.left + cell.right) / 2, (cell.top + cell.bottom) / 2
        if site.draws.chance(0.4) and long > 36:  # two of them
            part, step = long / 2 - 3, long / 4 + 1.5
            dx, dy = (step, 0.0) if heading else (0.0, step)
            for sign in (1, -1):
                site.put("building", x + sign * dx, y + sign * dy, heading, part, short * site.between(0.75, 1),
                         site.color("building"))
        else:
            site.put("building", x, y, heading, long, short, site.color("building"))
        site.trees(3, cell.left, cell.top, cell.right, cell.bottom)


def _halls(site: Site, ground: Block) -> None:
    """One hall, or a row of them."""
    count = site.draws.pick([1, 1, 2, 3])
    high = ground.height / count
    for number in range(count):
        wide, deep = ground.width * site.between(0.75, 1), high - site.between(6, 10)
        long, short, heading = (wide, deep, 90) if wide >= deep else (deep, wide, 0)
        if short > 8:
            site.put("building", (ground.left + ground.right) / 2, ground.top + high * (number + 0.5), heading,
                     long, short, site.color("building"))


def _yard(site: Site, yard: Block) -> None:
    use = site.draws.pick(["lot", "trucks", "tanks"])
    if use == "lot":
        site.stalls(yard.left, yard.top, yard.right, yard.top + yard.height * 0.6, site.between(0.3, 0.8))
    elif use == "trucks":
        site.patch("gravel", rectangle(*yard))
        x = yard.left + 4
        while x < yard.right - 4:
            if site.draws.chance(0.6):
                site.car(x, yard.top + 14, 0, "truck")
            x += 4.2
    else:
        site.patch("gravel", rectangle(*yard))
        across = site.between(9, min(22.0, max(9.5, yard.width / 2 - 4)))
        for row in range(max(1, int(yard.height / (across * 1.5)))):
            for column in range(max(1, int(yard.width / (across * 1.5)))):
                site.put("tank", yard.left + across * (0.75 + 1.5 * column), yard.top + across * (0.75 + 1.5 * row), 0,
                         across, across, site.color("tank"), 1)
    site.trees(8, yard.left, yard.bottom - 12, yard.right, yard.bottom)
