"""What is labeled in a layout: semantic and instance masks, upright and oriented boxes. Pure functions of the layout.

Pixels are filled as `prompts.layouts.geometry` says. Boxes are in pixels, with their far ends excluded: [left, top,
right, bottom] is exactly the pixels of columns left to right - 1 and rows top to bottom - 1. Oriented corners are exact
places on the same axes, and may reach beyond the image where its edge cuts the thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from terrasynth.prompts.layouts.catalog import SIX, load_catalog, same_kind
from terrasynth.prompts.layouts.geometry import Window, fill, strip
from terrasynth.prompts.layouts.layout import Layout


@dataclass(frozen=True)
class Instance:
    """A labeled thing.

    Attributes:
        number: Its value in the instance mask, from 1.
        thing: Its place in `Layout.things`.
        box: Left, top, right, bottom of its visible pixels; the far ends are excluded.
        corners: Of its oriented box, front left first, clockwise, in pixels.
        pixels: How many are visible.
    """

    number: int
    thing: int
    kind: str
    color: str
    box: tuple[int, int, int, int]
    corners: tuple[tuple[float, float], ...]
    pixels: int

    @property
    def center(self) -> tuple[float, float]:
        """The middle of its upright box, in pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


class Labels:
    """The labels of a layout.

    Attributes:
        layout: Whose they are.
        cover: uint8 (H, W), the land cover as if no thing were there; values are places in `Catalog.classes`.
        semantic: uint8 (H, W), the same with labeled things over it.
        mask: int32 (H, W), the number of the labeled thing at each pixel, 0 for none.
        instances: The labeled things, by number.
        too_small: Places in `Layout.things` of those that the image shows with fewer pixels than it takes.

    Example:
        >>> from terrasynth.prompts.layouts.labels import Labels
        >>> from terrasynth.prompts.layouts.layout import Layout, Thing
        >>> car = Thing("car", x=20.0, y=12.0, heading=90.0, length=4.5, width=2.0)
        >>> labels = Labels(Layout("parkinglot", side=64.0, gsd=0.5, ground="parking", things=(car,)))
        >>> labels.instances[0].box, int(labels.six().max())
        ((35, 22, 44, 26), 0)
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        size = layout.pixels
        self.cover = _cover(layout)
        windows = [fill(thing.shape / layout.gsd, size, size) for thing in layout.things]
        first = _painted(windows, range(1, len(windows) + 1), size)
        seen = np.bincount(first.ravel(), minlength=len(windows) + 1)
        kept = [place for place in range(len(windows)) if seen[place + 1] >= layout.min_pixels]
        self.too_small = [place for place in range(len(windows)) if 0 < seen[place + 1] < layout.min_pixels]
        self.mask = _painted([windows[place] for place in kept], range(1, len(kept) + 1), size)
        pixels = np.bincount(self.mask.ravel(), minlength=len(kept) + 1)
        self.instances = tuple(self._instance(number, place, windows[place], int(pixels[number]))
                               for number, place in enumerate(kept, 1))
        catalog = load_catalog()
        values = np.array([0, *(catalog.value(one.kind) for one in self.instances)], np.uint8)
        self.semantic = np.where(self.mask > 0, values[self.mask], self.cover)

    def _instance(self, number: int, place: int, window: Window | None, pixels: int) -> Instance:
        assert window is not None
        thing = self.layout.things[place]
        own = self.mask[window.rows, window.columns] == number
        rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
        top, left = window.rows.start, window.columns.start
        box = (int(left + columns[0]), int(top + rows[0]), int(left + columns[-1] + 1), int(top + rows[-1] + 1))
        points = tuple((float(x), float(y)) for x, y in np.round(thing.corners / self.layout.gsd, 2))
        return Instance(number, place, thing.kind, thing.color, box, points, pixels)

    def six(self) -> NDArray[np.uint8]:
        """The land cover in the six classes `SIX`, as a map shows it: without cars and airplanes; uint8 (H, W)."""
        catalog = load_catalog()
        covers = np.array([SIX.index(cover.six) for cover in catalog.covers.values()], np.uint8)
        found: NDArray[np.uint8] = covers[self.cover]
        known = [None, *(catalog.things[one.kind].six for one in self.instances)]
        values = np.array([0 if one is None else SIX.index(one) for one in known], np.uint8)
        shown = np.array([one is not None for one in known])
        return np.where(shown[self.mask], values[self.mask], found)

    def of(self, kind: str) -> list[Instance]:
        """The labeled things of a kind, and of those that are of it, too: houses are buildings."""
        things = load_catalog().things
        return [one for one in self.instances if kind in (one.kind, things[one.kind].like)]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many labeled things there are of each kind that may be counted, in the order of the catalog.

        Where there are houses and other buildings, too, all of them count as buildings.
        """
        there, things = Counter(one.kind for one in self.instances), load_catalog().things
        return {kind: there[kind] + sum(there[other] for other, spec in things.items() if spec.like == kind)
                for kind in things if kind in there and self.countable(kind)}

    def countable(self, kind: str) -> bool:
        """Whether all things of a kind that the image shows are labeled, and none of another kind is like them.

        Of other kinds nothing is counted and nothing denied: a car too small to be labeled is a car.
        """
        things, all_things = load_catalog().things, self.layout.things
        if any(same_kind(small, kind) for small in {all_things[place].kind for place in self.too_small}):
            return False
        return all(kind in (one, things[one].like) for one in {each.kind for each in self.instances}
                   if same_kind(one, kind))

    def ground_of(self, one: Instance) -> dict[str, float]:
        """Shares of the covers under an instance's visible pixels."""
        left, top, right, bottom = one.box
        below = self.cover[top:bottom, left:right][self.mask[top:bottom, left:right] == one.number]
        names = load_catalog().classes
        return {names[value]: float(n) / one.pixels for value, n in enumerate(np.bincount(below)) if n}

    def covers(self) -> dict[str, float]:
        """Shares of the image that each cover takes, things left out of account."""
        names = load_catalog().classes
        return {names[value]: float(n) / self.cover.size for value, n in enumerate(np.bincount(self.cover.ravel()))
                if n}


def labels_of(layout: Layout) -> Labels:
    """The labels of a layout, which are painted once: the layout keeps them.

    Example:
        >>> from terrasynth.prompts.layouts.drawing import draw_layout
        >>> from terrasynth.prompts.layouts.labels import labels_of
        >>> layout = draw_layout("ship", seed=0, k=0)
        >>> labels_of(layout) is labels_of(layout)
        True
    """
    known = vars(layout)
    if "_labels" not in known:
        known["_labels"] = Labels(layout)
    found: Labels = known["_labels"]
    return found


def labels_at(layout: Layout, side: int) -> Labels:
    """The labels of a layout in an image of so many pixels a side: of the things that are labeled in the layout's own.

    A thing of which such an image has no pixel is left out. Where the size is not the layout's own, `Instance.thing` is
    the place among the layout's own instances, one less than their number.

    Example:
        >>> from terrasynth.prompts.layouts.drawing import draw_layout
        >>> from terrasynth.prompts.layouts.labels import labels_at, labels_of
        >>> layout = draw_layout("airport", seed=0, k=0, size=64)
        >>> labels_at(layout, 64) is labels_of(layout), labels_at(layout, 128).mask.shape
        (True, (128, 128))
    """
    own = labels_of(layout)
    if layout.pixels == side:
        return own
    things = tuple(layout.things[one.thing] for one in own.instances)
    return Labels(replace(layout, gsd=layout.side / side, min_pixels=1, things=things))


def _painted(windows: list[Window | None], values: range, size: int) -> NDArray[np.int32]:
    found = np.zeros((size, size), np.int32)
    for window, value in zip(windows, values, strict=True):
        if window is not None:
            found[window.rows, window.columns][window.filled] = value
    return found


def _cover(layout: Layout) -> NDArray[np.uint8]:
    catalog, size = load_catalog(), layout.pixels
    if isinstance(layout.ground, str):
        found = np.full((size, size), catalog.value(layout.ground), np.uint8)
    else:
        cells = layout.ground.cells()
        at = ((np.arange(size) + 0.5) * len(cells) / size).astype(np.int64)
        found = cells[at[:, None], at[None]]
    for kind, window in _laid(layout):
        found[window.rows, window.columns][window.filled] = catalog.value(kind)
    return found


def _laid(layout: Layout) -> Iterator[tuple[str, Window]]:
    """Cover and pixels of patches and ways, in the order in which they are painted."""
    ways, size, gsd = load_catalog().ways, layout.pixels, layout.gsd
    for over in (False, True):
        for patch in layout.patches:
            if patch.over is over and (window := fill(np.array(patch.outline) / gsd, size, size)) is not None:
                yield patch.kind, window
        for way in () if over else sorted(layout.ways, key=lambda one: one.level):
            for window in strip(np.array(way.points) / gsd, way.width / gsd, size, size):
                yield ways[way.kind].cover, window
