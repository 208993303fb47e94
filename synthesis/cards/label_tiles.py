"""What lies over the tiles of a report: the layout that a model was shown, in colors and boxes, and what changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.changes import Edit, pair_of
from terrasynth.prompts.layouts.labels import Labels, labels_at
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.palettes import palettes

if TYPE_CHECKING:
    from terrasynth.eval.pages.tiles import TileSize

CLEAR, BOX, CHANGED = (0, 0, 0), (0, 0, 0), (255, 0, 0)
OPACITY = 150  # of land cover and things, 0 to 255; lines are opaque
WHOLE = {"season": "season and light alone, which is no change", "flooded": "ground flooded"}
BOX_OF, CHANGE_OF = "box of a labeled thing", "edge of what a pair changed"


class Placed(NamedTuple):
    """What a model was shown of one attempt.

    Attributes:
        layout: As JSON.
        edit: Of a pair, what was done to it, as JSON; "" of a single image.
    """

    layout: str
    edit: str = ""


def legend(pairs: bool) -> Mapping[str, tuple[int, int, int]]:
    """What lies over images -> its color (red, green, blue), in the order of `colors`."""
    return {**{name: palettes()["all"][name] for name in load_catalog().classes}, BOX_OF: BOX,
            **({CHANGE_OF: CHANGED} if pairs else {})}


def colors() -> list[tuple[int, int, int, int]]:
    """The colors of overlays, with opacity: of nothing, of the classes of the catalog, of boxes and of changes."""
    classes = [(*palettes()["all"][name], OPACITY) for name in load_catalog().classes]
    return [(*CLEAR, 0), *classes, (*BOX, 255), (*CHANGED, 255)]


def overlays(placed: Placed, size: TileSize) -> list[NDArray[np.uint8]]:
    """What lies over the tile of an attempt; of a pair over that of the image after, too.

    Returns:
        uint8 (height, width) each: places in `colors`. Where images are no squares, which layouts are, nothing.
    """
    if size.width != size.height:
        return [np.zeros((size.height, size.width), np.uint8)] * (2 if placed.edit else 1)
    if not placed.edit:
        return [_painted(labels_at(Layout.from_json(placed.layout), size.width))]
    pair = pair_of(placed.layout, placed.edit)
    edge = _edge(pair.mask_at(size.width))
    found = [_painted(labels_at(each, size.width)) for each in (pair.before, pair.after)]
    for each in found:
        each[edge] = len(load_catalog().classes) + 2
    return found


def described(placed: Placed) -> str:
    """What was done between the two images of a pair, in some words; nothing is painted for it."""
    edit = Edit.from_json(placed.edit)
    if edit.doing in WHOLE:
        return WHOLE[edit.doing]
    there = [] if edit.added else json.loads(placed.layout)["things"]
    kinds = [*(one.kind for one in edit.added), *(there[place]["kind"] for place in edit.things)]
    noun = load_catalog().things[kinds[0]]
    alike = (noun.noun if len(kinds) == 1 else noun.plural) if len(set(kinds)) == 1 else "things"
    return f"{len(kinds)} {alike} {'cut down' if edit.doing == 'cut' else edit.doing}"


def _painted(labels: Labels) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = labels.semantic + np.uint8(1)
    line = len(load_catalog().classes) + 1
    for one in labels.instances:
        left, top, right, bottom = one.box
        found[top:bottom, [left, right - 1]] = line
        found[[top, bottom - 1], left:right] = line
    return found


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask beside which one is that does not belong to it, bool (H, W)."""
    around = np.pad(mask, 1)
    inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inside
