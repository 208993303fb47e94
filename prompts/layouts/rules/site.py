"""A piece of ground on which a rule puts things, in a frame of its own that is then turned into the image.

Rules work in meters around the middle of the image, with streets along the axes; x goes to the right, y down. The site
refuses what overlaps, bends and turns all that was put on it, and cuts it to the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from terrasynth.prompts.layouts.catalog import Airplane, load_catalog
from terrasynth.prompts.layouts.geometry import (
    Points,
    Ring,
    densified,
    distance_to_line,
    forward,
    heading_of,
    ring,
    smooth,
    walk,
)
from terrasynth.prompts.layouts.layout import Layout, Patch, Thing, Way, rounded
from terrasynth.prompts.scenes.draws import Draws

CELL = 16.0  # meters of the grid in which neighbors are looked for
LEAST_INSIDE = 0.3  # of a thing, or the image's edge has cut it away
FINE = 1_000_000


class Site:
    """A piece of ground.

    Attributes:
        draws: Its random numbers.
        half: Half a side of the image, in meters.
        reach: Rules fill the square from -reach to reach, so that it covers the image however it is turned.
        gsd: Meters a pixel.
        ground: The cover where nothing else lies.
    """

    def __init__(self, draws: Draws, side: float, gsd: float) -> None:
        self.draws, self.side, self.gsd = draws, side, gsd
        self.half, self.reach = side / 2, side * 0.72
        self.ground = "lawn"
        self.turn = 0.0
        self.bends = 0.0
        self._patches: list[Patch] = []
        self._ways: list[Way] = []
        self._things: list[Thing] = []
        self._bound_of: list[int] = []  # of each thing, its place in _bounds
        self._cells: dict[tuple[int, int], list[int]] = {}
        self._bounds: list[_Box | None] = []
        self._segments: Points = np.empty((5, 0))
        self._ways_seen = 0

    # What is drawn.

    def between(self, least: float, most: float) -> float:
        """A number between two, all equally likely."""
        return least + (most - least) * self.draws.below(FINE) / FINE

    def size(self, kind: str) -> tuple[float, float]:
        """Length and width of a thing of a kind: both as far from its least as each other, or nearly so."""
        spec, share = load_catalog().things[kind], self.between(0, 1)
        other = min(1.0, max(0.0, share + self.between(-0.2, 0.2)))
        return (spec.length[0] + share * (spec.length[1] - spec.length[0]),
                spec.width[0] + other * (spec.width[1] - spec.width[0]))

    def color(self, kind: str) -> str:
        """A color that a thing of the kind may have."""
        return self.draws.pick(_colors(kind))

    def width(self, kind: str) -> float:
        """The width of a way of a kind."""
        return round(self.between(*load_catalog().ways[kind].width), 1)

    def airplanes(self, least: float, most: float) -> list[Airplane]:
        """The types of airplane with a wingspan between two."""
        return [one for one in load_catalog().airplanes if least <= one.span <= most]

    # What is put.

    def patch(self, kind: str, outline: Ring) -> None:
        """Lay a cover."""
        self._patches.append(Patch(kind, outline))

    def way(self, kind: str, points: Sequence[Sequence[float]], width: float, level: int = 0) -> Points:
        """Lay a way; its middle line."""
        self._ways.append(Way(kind, ring(points), width, level))
        return np.array(points, float)

    def seen(self, x: float, y: float, radius: float) -> bool:
        """Whether a circle may show in the image; what it surely does not is not worth putting."""
        turn = math.radians(self.turn)
        far = self.half + radius + self.bends * self.side * 0.5
        return (abs(x * math.cos(turn) - y * math.sin(turn)) < far
                and abs(x * math.sin(turn) + y * math.cos(turn)) < far)

    def put(self, kind: str, x: float, y: float, heading: float, length: float, width: float, color: str = "",
            gap: float = 0.5) -> bool:
        """Put a thing where it keeps a gap to all others, in meters; whether there was room."""
        if not self.seen(x, y, math.hypot(length, width) / 2):
            return False
        if not self.free(_Box.of(x, y, heading, length + 2 * gap, width + 2 * gap)):
            return False
        self._mark(_Box.of(x, y, heading, length, width))
        self._bound_of.append(len(self._bounds) - 1)
        self._things.append(Thing(kind, x, y, heading, length, width, color))
        return True

    def take_away(self, line: Points, reach: float) -> None:
        """Take away the things whose box comes nearer to a line than `reach` meters."""
        def near(thing: Thing) -> bool:
            box = thing.corners
            return bool(distance_to_line(np.concatenate([box, box.mean(0)[None]]), line).min() < reach)

        gone = [place for place, one in enumerate(self._things) if near(one)]
        for place in reversed(gone):
            self._bounds[self._bound_of.pop(place)] = None
            del self._things[place]

    def keep_out(self, x: float, y: float, heading: float, length: float, width: float) -> None:
        """Let nothing be put into a box."""
        self._mark(_Box.of(x, y, heading, length, width))

    def free(self, box: _Box) -> bool:
        """Whether a box overlaps no thing."""
        near = {number for cell in box.cells() for number in self._cells.get(cell, ())}
        return not any((other := self._bounds[number]) is not None and box.overlaps(other) for number in near)

    def off_ways(self, x: float, y: float, clearance: float) -> bool:
        """Whether a place is farther from the borders of all ways than so many meters."""
        if not self._ways:
            return True
        if self._ways_seen != len(self._ways):
            lines = [(np.array(way.points), way.width) for way in self._ways]
            self._segments = np.concatenate([
                np.column_stack([line[:-1], np.diff(line, axis=0), np.full(len(line) - 1, width)])
                for line, width in lines]).T
            self._ways_seen = len(self._ways)
        ax, ay, dx, dy, width = self._segments
        px, py = x - ax, y - ay
        along = np.clip((px * dx + py * dy) / np.maximum(dx * dx + dy * dy, 1e-12), 0, 1)
        far = np.hypot(px - along * dx, py - along * dy)
        return bool((far > width / 2 + clearance).all())

    def _mark(self, box: _Box) -> None:
        self._bounds.append(box)
        for cell in box.cells():
            self._cells.setdefault(cell, []).append(len(self._bounds) - 1)

    # What many rules put.

    def car(self, x: float, y: float, heading: float, kind: str = "car", gap: float = 0.25) -> bool:
        """Put a car, a truck or a bus, not quite straight."""
        length, width = self.size(kind)
        return self.put(kind, x, y, heading + self.between(-1.5, 1.5), length, width, self.color(kind), gap)

    def tree(self, x: float, y: float, clearance: float = 0.5) -> bool:
        """Put a tree, where its crown hangs over no way."""
        across = self.between(*load_catalog().things["tree"].length)
        return self.seen(x, y, across) and self.off_ways(x, y, across / 2 + clearance) and self.put(
            "tree", x, y, self.between(0, 360), across, across * self.between(0.92, 1.0), "green", 0.2)

    def trees(self, count: int, left: float, top: float, right: float, bottom: float) -> None:
        """Put as many trees into a rectangle as find room, at most `count`."""
        for _ in range(count):
            self.tree(self.between(left, right), self.between(top, bottom))

    def traffic(self, line: Points, width: float, spacing: float, lanes: int = 1, one_way: bool = False,
                trucks: float = 0.08) -> None:
        """Put cars in the lanes of a way, driving on the right.

        Args:
            line: Its middle line, in driving direction where it is one-way.
            width: Of the way, in meters.
            spacing: Between cars of a lane on average, in meters.
            lanes: In each direction.
            one_way: All lanes go along the line.
            trucks: Share of trucks and buses.
        """
        lane = min(3.6, width / lanes / (1 if one_way else 2))
        for number in range(lanes):
            aside = lane * (number + 0.5 - (lanes / 2 if one_way else 0))
            for back in (False,) if one_way else (False, True):
                at = self.between(0, spacing)
                for x, y, heading in walk(line[::-1] if back else line, spacing, at):
                    if not self.draws.chance(0.75):
                        continue
                    turn = math.radians(heading)
                    slip = self.between(-0.3, 0.3) * spacing
                    right = aside + self.between(-0.25, 0.25)
                    self.car(x + right * math.cos(turn) + slip * math.sin(turn),
                             y + right * math.sin(turn) - slip * math.cos(turn), heading,
                             self.draws.pick(["truck", "truck", "bus"]) if self.draws.chance(trucks) else "car", 1.0)

    def stalls(self, left: float, top: float, right: float, bottom: float, full: float) -> None:
        """A parking lot: double rows of stalls along x with aisles between, so full of cars.

        Stalls are 2.6 by 5.2 m and aisles 6.5 m wide (Urban Land Institute, Dimensions of Parking: 90 degrees).
        """
        self.patch("parking", ring([(left, top), (right, top), (right, bottom), (left, bottom)]))
        stall, deep, aisle = 2.6, 5.2, 6.5
        y, ahead = top + 0.5, True
        while y + deep <= bottom - 0.3:
            for column in range(int((right - left - 1) / stall)):
                if self.draws.chance(full) and self.seen(left + (column + 1) * stall, y + deep / 2, 4):
                    heading = 0 if self.draws.chance(0.5) else 180
                    self.car(left + 0.5 + (column + 0.5) * stall, y + deep / 2 + self.between(-0.2, 0.2), heading,
                             gap=0.1)
            y += deep + (aisle if ahead else 0.2)
            ahead = not ahead
        self.keep_out((left + right) / 2, (top + bottom) / 2, 0, bottom - top, right - left)

    def line_across(self, wander: float, horizontal: bool = True, at: float = 0.0, parts: int = 6) -> Points:
        """A line that comes in at one side of the site and leaves at the other.

        Args:
            wander: How far it may stray from `at`, in meters.
        """
        reach = self.reach * 1.1
        along = np.linspace(-reach, reach, parts + 1)
        aside = np.array([at + self.between(-wander, wander) for _ in along])
        points = np.stack([along, aside] if horizontal else [aside, along], axis=1)
        return smooth(points) if wander else points

    def blob(self, x: float, y: float, radius: float, rough: float = 0.3, points: int = 10) -> Ring:
        """An outline as of a pond or a wood."""
        turn = 2 * np.pi * np.arange(points) / points
        far = np.array([radius * (1 + self.between(-rough, rough)) for _ in turn])
        found = np.stack([x + far * np.sin(turn), y - far * np.cos(turn)], axis=1)
        for _ in range(2):  # Chaikin's corner cutting, round the circle
            after = np.roll(found, -1, axis=0)
            found = np.stack([0.75 * found + 0.25 * after, 0.25 * found + 0.75 * after], axis=1).reshape(-1, 2)
        return ring(found)

    # What comes out.

    def layout(self, label: str, min_pixels: int, season: str, light: str, kinds: tuple[str, ...]) -> Layout:
        """What was put, bent, turned into the image and cut to it."""
        bend = _Bend(self) if self.bends else None
        patches, ways = [], []
        for patch in self._patches:
            outline = np.array((*patch.outline, patch.outline[0]))
            outline = self._turned(outline if bend is None else bend.points(densified(outline, 12))[:-1])
            if self._shown(outline, 0):
                patches.append(Patch(patch.kind, ring(outline)))
        for way in self._ways:
            points = np.array(way.points)
            points = self._turned(points if bend is None else bend.points(densified(points, 12)))
            if self._shown(points, way.width):
                ways.append(replace(way, points=ring(points)))
        things = list(self._placed_things(bend))
        return Layout(label, self.side, self.gsd, self.ground, tuple(patches), tuple(ways), tuple(things), min_pixels,
                      season, light, kinds)

    def _placed_things(self, bend: _Bend | None) -> Iterator[Thing]:
        again = Site(self.draws, self.side, self.gsd)
        for thing in self._things:
            x, y, heading = thing.x, thing.y, thing.heading
            if bend is not None:
                x, y, heading = bend.place(x, y, heading)
            (x, y), heading = self._turned(np.array([[x, y]]))[0].tolist(), heading + self.turn
            moved = rounded(replace(thing, x=x, y=y, heading=heading))
            box = _Box.of(moved.x, moved.y, moved.heading, moved.length, moved.width)
            if self._cut(moved) and (bend is None or again.free(box)):
                again._mark(box)
                yield moved

    def _turned(self, points: Points) -> Points:
        turn = math.radians(self.turn)
        matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        found: Points = points @ matrix + self.half
        return found

    def _shown(self, points: Points, width: float) -> bool:
        """Whether something of an outline may lie in the image."""
        low, high = points.min(0) - width / 2, points.max(0) + width / 2
        return bool((high > 0).all() and (low < self.side).all())

    def _cut(self, thing: Thing) -> bool:
        """Whether enough of a thing lies in the image: by a grid over its box."""
        turn, side = math.radians(thing.heading), self.side
        ahead, right = (math.sin(turn), -math.cos(turn)), (math.cos(turn), math.sin(turn))
        reach = math.hypot(thing.length, thing.width) / 2
        if reach <= thing.x <= side - reach and reach <= thing.y <= side - reach:
            return True
        inside = 0
        for i in range(10):
            along, steps = (i / 9 - 0.5) * thing.length, range(10)
            for j in steps:
                across = (j / 9 - 0.5) * thing.width
                x, y = thing.x + along * ahead[0] + across * right[0], thing.y + along * ahead[1] + across * right[1]
                inside += 0 <= x < side and 0 <= y < side
        return inside >= LEAST_INSIDE * 100


class _Bend:
    """A gentle warp, so that streets are curved and what lies along them follows."""

    def __init__(self, site: Site) -> None:
        self._wave = [site.between(1.2, 2.6) * site.side for _ in range(2)]
        self._phase = [site.between(0, 2 * math.pi) for _ in range(2)]
        self._size = [site.bends * each / (2 * math.pi) * (1 if site.draws.chance(0.5) else -1) for each in self._wave]

    def points(self, points: Points) -> Points:
        x, y = points[:, 0], points[:, 1]
        return np.stack([x + self._shift(0, y), y + self._shift(1, x)], axis=1)

    def place(self, x: float, y: float, heading: float) -> tuple[float, float, float]:
        """Where a place comes to lie, and where a heading there then points."""
        ahead = forward(heading)
        here, there = self.points(np.array([[x, y], [x + 0.5 * ahead[0], y + 0.5 * ahead[1]]]))
        return float(here[0]), float(here[1]), heading_of(*(there - here).tolist())

    def _shift(self, axis: int, along: Points) -> Points:
        found: Points = self._size[axis] * np.sin(2 * np.pi * along / self._wave[axis] + self._phase[axis])
        return found


class _Box(NamedTuple):
    """An oriented box: its middle, the unit vector of its heading, half its length and half its width."""

    x: float
    y: float
    ahead_x: float
    ahead_y: float
    long: float
    wide: float

    @classmethod
    def of(cls, x: float, y: float, heading: float, length: float, width: float) -> _Box:
        turn = math.radians(heading)
        return cls(x, y, math.sin(turn), -math.cos(turn), length / 2, width / 2)

    def overlaps(self, other: _Box) -> bool:
        """Whether two boxes share more than a border (separating axis theorem on numbers: there are many)."""
        dx, dy = other.x - self.x, other.y - self.y
        if math.hypot(dx, dy) >= math.hypot(self.long, self.wide) + math.hypot(other.long, other.wide):
            return False
        ux, uy, vx, vy = self.ahead_x, self.ahead_y, other.ahead_x, other.ahead_y
        same, cross = abs(ux * vx + uy * vy), abs(ux * vy - uy * vx)
        one, two = self, other
        return not (
            abs(dx * ux + dy * uy) >= one.long + two.long * same + two.wide * cross - 1e-9
            or abs(dx * uy - dy * ux) >= one.wide + two.long * cross + two.wide * same - 1e-9
            or abs(dx * vx + dy * vy) >= two.long + one.long * same + one.wide * cross - 1e-9
            or abs(dx * vy - dy * vx) >= two.wide + one.long * cross + one.wide * same - 1e-9
        )

    def cells(self) -> Iterator[tuple[int, int]]:
        """The cells of the grid that its bounds touch."""
        across = abs(self.ahead_x) * self.long + abs(self.ahead_y) * self.wide
        down = abs(self.ahead_y) * self.long + abs(self.ahead_x) * self.wide
        for column in range(int((self.x - across) // CELL), int((self.x + across) // CELL) + 1):
            for row in range(int((self.y - down) // CELL), int((self.y + down) // CELL) + 1):
                yield column, row


@lru_cache
def _colors(kind: str) -> tuple[str, ...]:
    """The colors of a kind, each as often as its weight says."""
    return tuple(name for name, weight in load_catalog().things[kind].colors.items() for _ in range(weight))
