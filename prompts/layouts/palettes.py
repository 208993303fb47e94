"""In which colors a layout is shown: palettes with a name, or colors by class; and the map itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field

from terrasynth.errors import nearest
from terrasynth.prompts.layouts.catalog import SIX, load_catalog, six_values
from terrasynth.prompts.layouts.labels import labels_at
from terrasynth.prompts.layouts.layout import Layout

Color = Annotated[tuple[int, int, int], Field(strict=False)]
Colors = str | dict[str, Color]
"""The name of a palette, or colors (red, green, blue), 0 to 255, by class."""

OTHER, SIX_COLORS = "other", "six"
_FILE = Path(__file__).with_name("palettes.yaml")


@lru_cache(maxsize=1)
def palettes() -> Mapping[str, Mapping[str, Color]]:
    """The palettes that have a name: colors by class.

    Example:
        >>> from terrasynth.prompts.layouts.palettes import palettes
        >>> sorted(palettes()), palettes()["ade20k"]["building"]
        (['ade20k', 'all', 'six'], (180, 120, 120))
    """
    read: dict[str, dict[str, list[int]]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {name: {label: (r, g, b) for label, (r, g, b) in colors.items()} for name, colors in read.items()}


def check_colors(colors: Colors) -> Colors:
    """Check what says in which colors a layout is shown.

    Raises:
        ValueError: A palette or a class is unknown, a color is none, or a cover has no color.
    """
    if isinstance(colors, str):
        if colors not in palettes():
            raise ValueError(f"palette {colors[:40]!r} is unknown{nearest(colors, palettes())}; there are "
                             f"{', '.join(palettes())}, or give colors by class")
        return colors
    catalog = load_catalog()
    for name, color in colors.items():
        if name != OTHER and name not in catalog.classes:
            raise ValueError(f"class {name[:40]!r} is unknown{nearest(name, catalog.classes)}; there are "
                             f"{', '.join((*catalog.classes, OTHER))}")
        if any(not 0 <= part <= 255 for part in color):
            raise ValueError(f"the color {list(color)} of {name!r} has to be three numbers from 0 to 255")
    without = [name for name in catalog.covers if name not in colors]
    if without and OTHER not in colors:
        raise ValueError(f"the cover {without[0]!r} has no color; give it one, or a color to {OTHER!r} for all without")
    return colors


def colors_of(colors: Colors) -> Mapping[str, Color]:
    """Colors by class."""
    return palettes()[colors] if isinstance(colors, str) else colors


def color_map(layout: Layout, colors: Colors, side: int) -> NDArray[np.uint8]:
    """A layout as a map: the things that are labeled, and what lies below them.

    Args:
        colors: As `check_colors` takes them. A thing without a color is left out, and what lies below it is shown.
        side: Of the map in pixels.

    Returns:
        `uint8` (side, side, 3).

    Example:
        >>> from terrasynth.prompts.layouts.drawing import draw_layout
        >>> from terrasynth.prompts.layouts.palettes import color_map
        >>> shown = color_map(draw_layout("airport", seed=0, k=0), "ade20k", 64)
        >>> shown.shape, bool((shown == (153, 255, 0)).all(-1).any())  # there is a runway
        ((64, 64, 3), True)
    """
    labels, given, catalog = labels_at(layout, side), colors_of(colors), load_catalog()
    if colors == SIX_COLORS:
        return np.array([given[name] for name in SIX], np.uint8)[labels.six()]
    table = np.array([given.get(name, given.get(OTHER, (0, 0, 0))) for name in catalog.classes], np.uint8)
    shown = np.array([name in given or name in catalog.covers for name in catalog.classes])
    return table[np.where(shown[labels.semantic], labels.semantic, labels.cover)]


def class_colors(colors: Colors) -> NDArray[np.uint8]:
    """The colors in which a semantic mask is shown, uint8 (C, 3), in the order of `Catalog.classes`.

    A thing without a color is shown as land, which lies below the things of a mask. So the map of a mask is that of
    the layout that `layout_of` makes of it.
    """
    catalog, given = load_catalog(), colors_of(colors)
    if colors == SIX_COLORS:
        return np.array([given[name] for name in SIX], np.uint8)[six_values()]
    other = given.get(OTHER, (0, 0, 0))
    land = given.get("land", other)
    return np.array([given.get(name, other if name in catalog.covers else land) for name in catalog.classes], np.uint8)
