"""Layouts of a class, endless and seeded: attempt k of a class is a pure function of seed, class and k."""

from __future__ import annotations

from dataclasses import replace

from terrasynth.errors import nearest
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.labels import Labels, labels_of
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.rules.classes import FAMILIES
from terrasynth.prompts.layouts.rules.site import Site
from terrasynth.prompts.scenes.draws import Draws

REVISION = 1  # raise it when the rules would draw other layouts: it is part of the identity
SEASONS = ("", "", "", "in spring", "in summer", "in autumn")
LIGHTS = ("", "", "", "under a low sun", "under a high sun", "under thin haze", "on a clear day")
MOST_TRIES = 40  # of which one shows what the class is about
CLASSES = tuple(FAMILIES)


def draw_layout(label: str, seed: int, k: int, size: int = 256, gsd: float | None = None,
                min_pixels: int = 12) -> Layout:
    """Draw a layout.

    Args:
        label: One of `CLASSES`.
        k: Which attempt, 0 or more.
        size: Of the image, in pixels a side.
        gsd: Meters a pixel; None for one that images of the class have.
        min_pixels: A thing that fills fewer pixels is not labeled.

    Raises:
        InputError: There is no rule for the class, or such images are too coarse to show what it is about.

    Example:
        >>> from terrasynth.prompts.layouts.drawing import draw_layout
        >>> layout = draw_layout("airplane", seed=0, k=3)
        >>> layout == draw_layout("airplane", seed=0, k=3), layout.pixels
        (True, 256)
        >>> {thing.kind for thing in layout.things} <= {"airplane", "building"}
        True
    """
    if label not in FAMILIES:
        raise InputError(f"class {label!r} has no rule for layouts{nearest(label, FAMILIES)}; there is "
                         f"{', '.join(FAMILIES)}")
    family = FAMILIES[label]
    for attempt in range(MOST_TRIES):
        draws = Draws("layout", label, seed, k, attempt)
        metres = draws.pick(family.gsd)
        metres = metres if gsd is None else gsd
        season, light = draws.pick(SEASONS), draws.pick(LIGHTS)
        site = Site(draws, round(size * metres, 6), metres)
        family.rule(site)
        layout, labels = _without_slivers(site.layout(label, min_pixels, season, light, family.kinds))
        if not family.needs or any(labels.counts.get(kind) for kind in family.needs):
            return layout
    raise InputError(f"in {MOST_TRIES} layouts of class {label!r}, {size} pixels of {metres:g} m a side, no "
                     f"{' or '.join(family.needs)} fills {min_pixels} pixels; take a smaller gsd or a larger size")


def _without_slivers(layout: Layout) -> tuple[Layout, Labels]:
    """The layout without things of which the image's edge leaves too little to be labeled, and its labels.

    Otherwise their kind could not be counted: something of it would be there, and have no label.
    """
    labels = labels_of(layout)
    cut = {place for place in labels.too_small if not _within(layout, place)}
    if not cut:
        return layout, labels
    left = replace(layout, things=tuple(one for place, one in enumerate(layout.things) if place not in cut))
    return left, labels_of(left)


def _within(layout: Layout, place: int) -> bool:
    box = layout.things[place].corners
    return bool((box >= 0).all() and (box <= layout.side).all())
