"""Semantic segmentation: a mask for each image, as a PNG file with a palette, and what its values mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from terrasynth.prompts.layouts.catalog import SIX, load_catalog
from terrasynth.prompts.layouts.palettes import palettes
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import encode_mask
from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.labels import ImageLabels, LabelExporter
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan

CLASSES = "classes.json"
ALL, SIX_NAME = "all", "six"


class SemanticExporter(LabelExporter):
    """`images/SPLIT/ID.png`, `masks/SPLIT/ID.png` and `classes.json`.

    Args:
        classes: "all" for the classes of the catalog, things over land cover; "six" for land, building, road, motorway,
            water and green, as a land-cover map shows them.
    """

    name = "semantic"
    own: ClassVar[Sequence[str]] = (
        rf"images/(train|validation|test)/{PICTURES}", r"masks/(train|validation|test)/[0-9a-f]{16}\.png",
        r"classes\.json",
    )
    load = (
        'import numpy as np\nfrom PIL import Image\n'
        'mask = np.asarray(Image.open("FOLDER/masks/train/ID.png"))   # uint8 (H, W), values as in classes.json'
    )
    loses = "single things, boxes, captions, scene, what draws an image again, scores"
    conventions = (
        "A pixel of a mask is the place of its class in `classes.json`, from 0, and there is none without a class. "
        "Things too small to be labeled are left out: what lies below them is there. Pillow reads the values; OpenCV, "
        "which applies palettes, reads colors."
    )

    def __init__(self, classes: str = ALL) -> None:
        if classes not in (ALL, SIX_NAME):
            raise InputError(f"option classes {classes!r} is unknown; write classes={ALL} or classes={SIX_NAME}")
        self._classes = classes

    @override
    def options(self) -> dict[str, object]:
        """What decides the files beside the rows."""
        return {"classes": self._classes}

    def write(self, plan: Plan, out: Output) -> None:
        """Write images, masks and classes."""
        names = SIX if self._classes == SIX_NAME else load_catalog().classes
        colors = palettes()[self._classes]
        with out.file(CLASSES) as file:
            told = [{"value": value, "name": name, "color": list(colors[name])} for value, name in enumerate(names)]
            file.write((json.dumps(told, indent=2) + "\n").encode())
        for row in plan.rows():
            labels = ImageLabels.of(row).drawn
            mask = labels.six() if self._classes == SIX_NAME else labels.semantic
            out.picture(f"images/{row.split}/{row.file_name}", row.picture)
            out.picture(f"masks/{row.split}/{row.id}.png", encode_mask(mask, [colors[name] for name in names]))
