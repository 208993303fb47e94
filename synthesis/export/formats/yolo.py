"""YOLO: one text file of boxes for each image, upright or oriented, and a `data.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from terrasynth.prompts.layouts.labels import Instance
from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.formats.karpathy import SPLIT_NAMES
from terrasynth.synthesis.export.labels import ImageLabels, LabelExporter
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.ledger.label_columns import categories

DATA = "data.yaml"


class YoloExporter(LabelExporter):
    """`images/SPLIT/ID.png`, `labels/SPLIT/ID.txt` and `data.yaml`; an image without things has an empty file."""

    name = "yolo"
    own: ClassVar[Sequence[str]] = (
        rf"images/(train|validation|test)/{PICTURES}", r"labels/(train|validation|test)/[0-9a-f]{16}\.txt",
        r"data\.yaml",
    )
    load = 'from ultralytics import YOLO\nYOLO("yolo11n.pt").train(data="FOLDER/data.yaml")'
    loses = "masks, colors, captions, land cover, scene, what draws an image again, scores"
    conventions = (
        "A line of `labels/` is class, center x, center y, width and height of an upright box, each as a share of the "
        "image's side, from the upper left corner; a box ends where its last pixel ends, so that one of all pixels is "
        "0.5 0.5 1 1. It holds the pixels that are seen."
    )

    def write(self, plan: Plan, out: Output) -> None:
        """Write images, boxes and `data.yaml`, which names no `val` where there are no such rows."""
        with out.file(DATA) as file:
            file.write(f"# {self.conventions}\n".encode())
            for split in plan.splits:
                file.write(f"{SPLIT_NAMES[split]}: images/{split}\n".encode())
            names = "".join(f"  {number}: {name}\n" for number, name in enumerate(categories()))
            file.write(f"names:\n{names}".encode())
        for row in plan.rows():
            labels = ImageLabels.of(row)
            lines = "".join(f"{categories().index(one.kind)} {' '.join(map(_share, self._shares(labels, one)))}\n"
                            for one in labels.instances)
            out.picture(f"images/{row.split}/{row.file_name}", row.picture)
            out.picture(f"labels/{row.split}/{row.id}.txt", lines.encode())

    def _shares(self, labels: ImageLabels, one: Instance) -> list[float]:
        left, top, right, bottom = one.box
        numbers = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        return [number / labels.side for number in numbers]


class YoloObbExporter(YoloExporter):
    """The same files with oriented boxes: four corners instead of center and size.

    YOLO's readers drop an image of which a corner lies outside, so a box that reaches beyond the image is written as
    the upright one of what is seen.
    """

    name = "yolo-obb"
    load = 'from ultralytics import YOLO\nYOLO("yolo11n-obb.pt").train(data="FOLDER/data.yaml")'
    loses = (
        "the heading of what the image's edge cuts, masks, colors, captions, land cover, scene, what draws an image "
        "again, scores"
    )
    conventions = (
        "A line of `labels/` is class and x1 y1 x2 y2 x3 y3 x4 y4, the corners of an oriented box as shares of the "
        "image's side, from the upper left corner. The first is the front left one, and they go clockwise. A box that "
        "reaches beyond the image is written as the upright one of the pixels that are seen, upper left corner first."
    )

    @override
    def _shares(self, labels: ImageLabels, one: Instance) -> list[float]:
        return [number / labels.side for point in labels.corners_inside(one) for number in point]


def _share(number: float) -> str:
    return f"{number:.8f}".rstrip("0").rstrip(".")
