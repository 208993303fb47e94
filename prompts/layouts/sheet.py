"""Layouts drawn as maps, for people to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.labels import Labels
from terrasynth.prompts.layouts.layout import Layout

COLORS = {
    "white": (244, 244, 240), "grey": (150, 152, 156), "black": (44, 44, 48), "red": (176, 76, 62),
    "blue": (66, 110, 176), "brown": (138, 106, 84), "green": (64, 128, 72),
}
UNKNOWN = (200, 120, 180)  # a thing of whose color nothing is said
FIELDS = ("soccer_field", "baseball_diamond")
MARGIN = 6


def drawn(layout: Layout) -> NDArray[np.uint8]:
    """A layout as a map: covers in the colors of the catalog, labeled things in their own with a dark edge.

    Returns:
        uint8 (H, W, 3).

    Example:
        >>> from terrasynth.prompts.layouts.drawing import draw_layout
        >>> from terrasynth.prompts.layouts.sheet import drawn
        >>> drawn(draw_layout("harbor", seed=0, k=0, size=64)).shape
        (64, 64, 3)
    """
    labels, catalog = Labels(layout), load_catalog()
    covers = np.array([cover.color for cover in catalog.covers.values()], np.uint8)
    colors = np.array([(0, 0, 0), *(COLORS.get(one.color, UNKNOWN) for one in labels.instances)], np.uint8)
    found = np.where((labels.mask > 0)[..., None], colors[labels.mask], covers[labels.cover])
    mask = labels.mask
    flat = np.array([False, *(one.kind in FIELDS for one in labels.instances)])[mask]  # what lies on a field shows
    found[flat] = (found[flat] * 0.45 + covers[labels.cover][flat] * 0.55).astype(np.uint8)
    edge = np.zeros(mask.shape, bool)
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edge[1:] |= mask[1:] != mask[:-1]
    found[edge & (mask > 0)] = (found[edge & (mask > 0)] * 0.6).astype(np.uint8)
    return found


def sheet(layouts: Sequence[Layout], columns: int | None = None) -> Image.Image:
    """Layouts beside each other.

    Args:
        layouts: One or more.
        columns: How many in a row; None for about as many as there are rows.
    """
    tiles = [drawn(one) for one in layouts]
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    size = max(len(tile) for tile in tiles)
    rows = math.ceil(len(tiles) / columns)
    step = size + MARGIN
    found = Image.new("RGB", (columns * step + MARGIN, rows * step + MARGIN), "white")
    for number, tile in enumerate(tiles):
        found.paste(Image.fromarray(tile), (MARGIN + number % columns * step, MARGIN + number // columns * step))
    return found
