"""The columns of a data set that follow from its layouts: `objects` as `datasets` has them, and a semantic `mask`.

Those of pairs of before and after follow from the edit besides: the mask of the layout after, where and whether
anything changed, and captions of that.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.changes import pair_of
from terrasynth.prompts.layouts.labels import Labels, labels_at
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.palettes import palettes
from terrasynth.synthesis.core.images import encode_mask
from terrasynth.synthesis.ledger.blocks import EDIT, IMAGE_AFTER, TEXT_AFTER

OBJECTS, MASK = "objects", "mask"
MASK_AFTER, CHANGE, CHANGED, CHANGE_CAPTIONS = "mask_after", "change", "changed", "change_captions"
IMAGES = (IMAGE_AFTER, MASK, MASK_AFTER, CHANGE)  # columns of images beside `image`
OF_CHANGE = ((0, 0, 0), (255, 255, 255))  # colors of what did not change, and of what did
ALL = "all"  # the palette of masks


def categories() -> tuple[str, ...]:
    """The kinds of labeled things, in the order of the catalog; a category is the place in it."""
    return tuple(load_catalog().things)


def with_labels(row: dict[str, Any], layout: str | None) -> dict[str, Any]:
    """A row with what is labeled in its layout.

    Args:
        row: Plain data with `id` and `image`, of a run with or without layouts.
        layout: The layout as JSON; None for a run without, whose rows stay as they are.

    Returns:
        The row with `objects` (lists of equal length, one item a thing) and `mask` (a PNG file), in the image's pixels;
        a pair with `mask_after`, `change` (a PNG file, 1 where labels differ), `changed` and `change_captions`, too.

    Raises:
        InputError: The layout is none, or the edit does not fit it.
    """
    if layout is None:
        return row
    with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
        side = picture.width
    if row.get(EDIT) is None:
        labels = labels_at(Layout.from_json(layout), side)
        return {**row, OBJECTS: objects(labels), MASK: _file(row, semantic_mask(labels))}
    pair = pair_of(layout, row[EDIT])
    labels, later = labels_at(pair.before, side), labels_at(pair.after, side)
    change = encode_mask(pair.mask_at(side).astype(np.uint8), OF_CHANGE)
    return {**row, OBJECTS: objects(labels), MASK: _file(row, semantic_mask(labels)),
            MASK_AFTER: _file(row, semantic_mask(later), "-after"), CHANGE: _file(row, change, "-change"),
            CHANGED: pair.changed, CHANGE_CAPTIONS: list(pair.captions)}


def objects(labels: Labels) -> dict[str, list[Any]]:
    """The labeled things, in the order of their numbers in the instance mask.

    Returns:
        `id` (that number), `bbox` (x, y, width, height in pixels, of what is seen), `category`, `area` (pixels that are
        seen), `corners` (x1, y1, ... of the oriented box of the whole thing, front left first, clockwise), `color`.
    """
    things, kinds = labels.instances, categories()
    return {
        "id": [one.number for one in things],
        "bbox": [_from_corner(one.box) for one in things],
        "category": [kinds.index(one.kind) for one in things],
        "area": [one.pixels for one in things],
        "corners": [[each for point in one.corners for each in point] for one in things],
        "color": [one.color for one in things],
    }


def semantic_mask(labels: Labels) -> bytes:
    """The semantic mask as a PNG file with a palette; a pixel's value is the place in `Catalog.classes`."""
    colors = palettes()[ALL]
    return encode_mask(labels.semantic, [colors[name] for name in load_catalog().classes])


def label_features(pairs: bool = False) -> dict[str, Any]:
    """The features of `objects` and `mask`; and of pairs all that they have besides."""
    from datasets import ClassLabel, Image, List, Value

    numbers = Value("float64")
    return {
        OBJECTS: {
            "id": List(Value("int32")),
            "bbox": List(List(numbers, length=4)),
            "category": List(ClassLabel(names=list(categories()))),
            "area": List(Value("int32")),
            "corners": List(List(numbers, length=8)),
            "color": List(Value("string")),
        },
        MASK: Image(),
        **(_pair_features() if pairs else {}),
    }


def _pair_features() -> dict[str, Any]:
    from datasets import Image, List, Value

    return {EDIT: Value("string"), IMAGE_AFTER: Image(), TEXT_AFTER: Value("string"), MASK_AFTER: Image(),
            CHANGE: Image(), CHANGED: Value("bool"), CHANGE_CAPTIONS: List(Value("string"))}


def _file(row: dict[str, Any], data: bytes, ending: str = "") -> dict[str, Any]:
    return {"bytes": data, "path": f"{row['id']}{ending}.png"}


def _from_corner(box: tuple[int, int, int, int]) -> list[float]:
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]
