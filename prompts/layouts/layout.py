"""A scene with places: ground, patches, ways and things, in meters; plain data that travels as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import nearest
from terrasynth.hashing import text_hash
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import SHAPES, load_catalog
from terrasynth.prompts.layouts.geometry import Points, Ring, corners, placed, ring

FORMAT = 1  # raise it when the same JSON would mean another layout
MOST_PIXELS = 8192  # a side
Known = TypeVar("Known")


@dataclass(frozen=True)
class Thing:
    """An object in its place.

    Attributes:
        kind: One of `Catalog.things`.
        x: Of the center of its box, meters from the left edge of the image.
        y: Meters from the upper edge.
        heading: Where its front points: degrees clockwise from up.
        length: Along its heading, in meters.
        width: Across, in meters.
        color: Where something is to be said of it, else "".
        outline: Its shape where that is none of the kind's: points in meters, within the box.
    """

    kind: str
    x: float
    y: float
    heading: float
    length: float
    width: float
    color: str = ""
    outline: Ring = ()

    @property
    def shape(self) -> Points:
        """Its outline in meters, (N, 2)."""
        if self.outline:
            return np.array(self.outline)
        unit = SHAPES[load_catalog().things[self.kind].shape]
        return placed(unit, self.x, self.y, self.heading, self.length, self.width)

    @property
    def corners(self) -> Points:
        """The corners of its box in meters: front left, front right, back right, back left; (4, 2)."""
        return corners(self.x, self.y, self.heading, self.length, self.width)


@dataclass(frozen=True)
class Patch:
    """A piece of land cover.

    Attributes:
        kind: One of `Catalog.covers`.
        outline: In meters.
        over: It lies over ways, too, as a flood does.
    """

    kind: str
    outline: Ring
    over: bool = False


@dataclass(frozen=True)
class Way:
    """A street, a river, a pier: what lies along a line.

    Attributes:
        kind: One of `Catalog.ways`.
        points: Its middle line, in meters. Ways that meet share a point: so they are the edges of a graph.
        width: In meters.
        level: What lies on a higher one crosses over what lies on a lower one.
    """

    kind: str
    points: Ring
    width: float
    level: int = 0


@dataclass(frozen=True)
class Raster:
    """Land cover as a grid of cells.

    Attributes:
        columns: How many cells a row has; they are square, and together as wide as the image.
        runs: Names of covers with how many cells they fill, row by row from the upper left corner.
    """

    columns: int
    runs: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, cells: NDArray[np.uint8]) -> Raster:
        """The raster of a semantic mask of covers, uint8 (N, N)."""
        names, flat = load_catalog().classes, cells.ravel()
        starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] + 1))
        lengths = np.diff(starts, append=len(flat))
        return cls(cells.shape[1], tuple((names[flat[a]], int(n)) for a, n in zip(starts, lengths, strict=True)))

    def cells(self) -> NDArray[np.uint8]:
        """The inverse of `of`."""
        catalog = load_catalog()
        values = np.array([catalog.value(name) for name, _ in self.runs], np.uint8)
        return np.repeat(values, [count for _, count in self.runs]).reshape(-1, self.columns)


@dataclass(frozen=True)
class Layout:
    """A scene with places.

    The ground is painted first, then patches in their order, then ways from the lowest level up, then patches that lie
    over ways, then things in their order. Meters are counted from the upper left corner of the image, to the right and
    down.

    Attributes:
        label: The scene class.
        side: Of the square that the image shows, in meters.
        gsd: Ground sampling distance: meters a pixel.
        ground: The cover where nothing else lies, or a raster of covers.
        min_pixels: A thing that fills fewer pixels is not labeled.
        season: When in the year, in words, or "".
        light: Sun and haze, in words, or "".
        kinds: Kinds of thing that the layout has where they are there: of these alone it may be said that there is
            none.

    Example:
        >>> from terrasynth.prompts.layouts.layout import Layout, Thing
        >>> car = Thing("car", x=20.0, y=12.0, heading=90.0, length=4.5, width=1.8, color="white")
        >>> layout = Layout("parkinglot", side=64.0, gsd=0.5, ground="parking", things=(car,))
        >>> layout.pixels, Layout.from_json(layout.to_json()) == layout
        (128, True)
    """

    label: str
    side: float
    gsd: float
    ground: str | Raster
    patches: tuple[Patch, ...] = ()
    ways: tuple[Way, ...] = ()
    things: tuple[Thing, ...] = ()
    min_pixels: int = 12
    season: str = ""
    light: str = ""
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no image can show.

        Raises:
            InputError: A kind is unknown, a number is none, or a size is not above 0: value and place.
        """
        _positive(self.side, "side")
        _positive(self.gsd, "gsd")
        if not 1 <= self.pixels <= MOST_PIXELS or abs(self.pixels * self.gsd - self.side) > 0.01 * self.gsd:
            raise InputError(f"side {self.side:g} of a layout has to be 1 to {MOST_PIXELS} whole pixels of gsd "
                             f"{self.gsd:g}")
        if self.min_pixels < 1:
            raise InputError(f"min_pixels {self.min_pixels} of a layout has to be 1 or more")
        self._check_ground()
        catalog = load_catalog()
        for place, kind in enumerate(self.kinds):
            _known(kind, catalog.things, f"kinds[{place}]")
        for place, patch in enumerate(self.patches):
            _known(patch.kind, catalog.covers, f"patches[{place}]")
            _line(patch.outline, 3, f"patches[{place}].outline")
        for place, way in enumerate(self.ways):
            _known(way.kind, catalog.ways, f"ways[{place}]")
            _line(way.points, 2, f"ways[{place}].points")
            _positive(way.width, f"ways[{place}].width")
        for place, thing in enumerate(self.things):
            _known(thing.kind, catalog.things, f"things[{place}]")
            _positive(thing.length, f"things[{place}].length")
            _positive(thing.width, f"things[{place}].width")
            for name, value in (("x", thing.x), ("y", thing.y), ("heading", thing.heading)):
                _number(value, f"things[{place}].{name}")
            if thing.outline:
                _line(thing.outline, 3, f"things[{place}].outline")

    def _check_ground(self) -> None:
        covers = load_catalog().covers
        if isinstance(self.ground, str):
            _known(self.ground, covers, "ground")
            return
        for name, count in self.ground.runs:
            _known(name, covers, "ground")
            if count < 1:
                raise InputError(f"ground of a layout has a run of {count} cells; it needs 1 or more")
        if sum(count for _, count in self.ground.runs) != self.ground.columns**2:
            raise InputError(f"ground of a layout has not {self.ground.columns} times {self.ground.columns} cells")

    @property
    def pixels(self) -> int:
        """The side of the image in pixels."""
        return round(self.side / self.gsd) if self.side / self.gsd < 1e9 else 0

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that name it; equal layouts, equal names."""
        return text_hash(self.to_json())

    def at(self, gsd: float) -> Layout:
        """The same scene at another ground sampling distance, which may show less of it.

        Raises:
            InputError: The side is not a whole number of such pixels.
        """
        return replace(self, gsd=gsd)

    def to_json(self) -> str:
        """The layout as a JSON object of plain data; equal layouts give equal strings."""
        ground = self.ground if isinstance(self.ground, str) else _plain(self.ground)
        tree = {"format": FORMAT, **_plain(self), "ground": ground, "patches": [_plain(one) for one in self.patches],
                "ways": [_plain(one) for one in self.ways], "things": [_plain(one) for one in self.things]}
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """The inverse of `to_json`.

        Raises:
            InputError: `text` is no JSON of a layout: what is wrong, and where.
        """
        try:
            tree = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"layout {text[:60]!r} is no JSON ({error}); write what Layout.to_json gives") from error
        if not isinstance(tree, dict) or tree.pop("format", None) != FORMAT:
            raise InputError(f"layout {text[:60]!r} is no JSON object with format {FORMAT}; write what Layout.to_json "
                             "gives")
        ground = tree.get("ground")
        if isinstance(ground, dict):
            tree["ground"] = part_of(Raster, ground, "ground")
        for name, part in (("patches", Patch), ("ways", Way), ("things", Thing)):
            items = tree.get(name, [])
            if not isinstance(items, list):
                raise InputError(f"{name} {items!r:.60} of a layout has to be a list")
            tree[name] = tuple(part_of(part, item, f"{name}[{place}]") for place, item in enumerate(items))
        return part_of(cls, tree, "layout")


def road_graph(layout: Layout) -> dict[tuple[float, float], tuple[int, ...]]:
    """The ways on which cars drive, as a graph.

    Returns:
        Place of each end or junction -> indices of the ways that end there, in order.

    Example:
        >>> from terrasynth.prompts.layouts.layout import Layout, Way, road_graph
        >>> ways = (Way("street", ((0.0, 5.0), (9.0, 5.0)), 6.0), Way("street", ((9.0, 5.0), (9.0, 40.0)), 6.0))
        >>> road_graph(Layout("intersection", 40.0, 1.0, "land", ways=ways))[(9.0, 5.0)]
        (0, 1)
    """
    kinds, found = load_catalog().ways, dict[tuple[float, float], tuple[int, ...]]()
    for number, way in enumerate(layout.ways):
        if kinds[way.kind].traffic:
            for end in (way.points[0], way.points[-1]):
                found[end] = (*found.get(end, ()), number)
    return found


def _plain(part: Layout | Raster | Patch | Way | Thing) -> dict[str, Any]:
    return {each.name: getattr(part, each.name) for each in fields(part)}


def part_of(kind: type[Known], tree: object, place: str) -> Known:
    """A part of a layout from plain data of the right types.

    Args:
        kind: A class of this module.
        place: What a message calls the part.

    Raises:
        InputError: It is no such part.
    """
    if not isinstance(tree, Mapping):
        raise InputError(f"{place} {tree!r:.60} of a layout has to be an object")
    known = {each.name: str(each.type) for each in fields(kind)}  # type: ignore[arg-type]
    for name, value in tree.items():
        if name not in known:
            raise InputError(f"{place} of a layout has no field {name!r}{nearest(name, known)}; it has "
                             f"{', '.join(known)}")
        if not _fits(value, known[name]):
            raise InputError(f"{place}.{name} {value!r:.60} of a layout has another type than {known[name]}")
    try:
        return kind(**{name: _tuples(value) for name, value in tree.items()})
    except TypeError as error:
        raise InputError(f"{place} of a layout lacks a field ({error}); write what Layout.to_json gives") from error


def _fits(value: object, annotation: str) -> bool:
    if annotation == "str":
        return isinstance(value, str)
    if annotation == "bool":
        return isinstance(value, bool)
    if annotation == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation == "Ring":
        return isinstance(value, list) and all(
            isinstance(one, list) and len(one) == 2 and all(_fits(each, "float") for each in one) for one in value)
    if annotation == "tuple[tuple[str, int], ...]":
        return isinstance(value, list) and all(
            isinstance(one, list) and len(one) == 2 and _fits(one[0], "str") and _fits(one[1], "int") for one in value)
    if annotation == "tuple[str, ...]":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if annotation == "tuple[int, ...]":
        return isinstance(value, list) and all(_fits(one, "int") for one in value)
    return True  # ground and the lists of parts, which are made before


def _tuples(value: Any) -> Any:  # noqa: ANN401 - plain data of JSON
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _known(kind: str, kinds: Iterable[str], place: str) -> None:
    if kind not in kinds:
        raise InputError(f"{place} of a layout is of the kind {kind!r}, which does not exist{nearest(kind, kinds)}; "
                         f"there is {', '.join(kinds)}")


def _number(value: float, place: str) -> None:
    if not math.isfinite(value):
        raise InputError(f"{place} {value!r} of a layout has to be a number")


def _positive(value: float, place: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{place} {value!r} of a layout has to be a number above 0")


def _line(points: Sequence[tuple[float, float]], least: int, place: str) -> None:
    if len(points) < least or not all(math.isfinite(each) for point in points for each in point):
        raise InputError(f"{place} of a layout needs {least} or more points of two numbers, and has {points!r:.60}")


def rounded(thing: Thing) -> Thing:
    """The thing to the centimeter and a tenth of a degree, as rules give it."""
    return replace(thing, x=round(thing.x, 2), y=round(thing.y, 2), heading=round(thing.heading % 360, 1) % 360,
                   length=round(thing.length, 2), width=round(thing.width, 2), outline=ring(thing.outline))
