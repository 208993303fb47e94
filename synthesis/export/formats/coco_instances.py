"""COCO detection and instance segmentation: what lies where, by the layout that the model was shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.labels import Instance
from terrasynth.synthesis.export.formats.coco import coco_files
from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.labels import ImageLabels, LabelExporter
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.ledger.label_columns import categories


class CocoInstancesExporter(LabelExporter):
    """`images/SPLIT/` and `annotations/instances_SPLIT.json`, with a run-length mask for each thing.

    Beside COCO's fields a thing has `color` ("" where nothing is said of it), and `corners` of its oriented box.
    """

    name = "coco-instances"
    own: ClassVar[Sequence[str]] = (
        rf"images/(train|validation|test)/{PICTURES}", r"annotations/instances_(train|validation|test)\.json",
    )
    load = 'from pycocotools.coco import COCO\nthings = COCO("FOLDER/annotations/instances_train.json")'
    loses = "captions, land cover, scene, what draws an image again, scores"
    conventions = (
        "`bbox` is x, y, width, height in pixels from the upper left corner: columns x to x + width - 1, rows y to "
        "y + height - 1. Box, mask and `area` are of the pixels that are seen. `corners` are those of the oriented box "
        "of the whole thing, front left first, clockwise, and may lie beyond the image."
    )

    def write(self, plan: Plan, out: Output) -> None:
        """Write images and annotations; the numbers of images and things are unique over all splits, from 1."""
        number = 0
        with coco_files(plan, out, "instances", {"categories": coco_categories()}) as files:
            for row in plan.rows():
                out.picture(f"images/{row.split}/{row.file_name}", row.picture)
                files[row.split].add_image(row)
                labels = ImageLabels.of(row)
                for one in labels.instances:
                    number += 1
                    files[row.split].add_annotation(number, row, _annotation(labels, one))


def coco_categories() -> list[dict[str, Any]]:
    """Kinds of things as COCO has them; the number of one is its place in the catalog, from 1."""
    return [{"id": number, "name": kind, "supercategory": load_catalog().things[kind].like or kind}
            for number, kind in enumerate(categories(), 1)]


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """COCO's run-length code of a mask, bool (H, W): lengths of runs down its columns, that of zeros first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate([[0] if flat[0] else [], changes, [flat.size]]).astype(np.int64)
    return {"size": list(mask.shape), "counts": np.diff(ends, prepend=0).tolist()}


def _annotation(labels: ImageLabels, one: Instance) -> dict[str, Any]:
    left, top, right, bottom = one.box
    return {
        "category_id": categories().index(one.kind) + 1,
        "bbox": [left, top, right - left, bottom - top],
        "area": one.pixels,
        "segmentation": run_lengths(labels.drawn.mask == one.number),
        "iscrowd": 0,
        "color": one.color,
        "corners": [list(point) for point in one.corners],
    }
