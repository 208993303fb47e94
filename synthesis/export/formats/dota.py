"""DOTA: oriented boxes as four corners in pixels, one text file for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.labels import ImageLabels, LabelExporter
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan


class DotaExporter(LabelExporter):
    """`SPLIT/images/ID.png` and `SPLIT/labelTxt/ID.txt`, without the lines of source and GSD, which some readers take.

    An image without things has an empty file.
    """

    name = "dota"
    own: ClassVar[Sequence[str]] = (
        rf"(train|validation|test)/images/{PICTURES}", r"(train|validation|test)/labelTxt/[0-9a-f]{16}\.txt",
    )
    load = (
        'boxes = [line.split() for line in open("FOLDER/train/labelTxt/ID.txt")]   '
        '# x1 y1 x2 y2 x3 y3 x4 y4 category difficult'
    )
    loses = "masks, colors, captions, land cover, scene, what draws an image again, scores"
    conventions = (
        "A line of `labelTxt/` is x1 y1 x2 y2 x3 y3 x4 y4, category, 0 for not difficult: the corners of an oriented "
        "box in pixels from the image's upper left corner, where a pixel goes from n to n + 1. The front left one is "
        "first, and they go clockwise. The box is that of the whole thing, and may reach beyond the image."
    )

    def write(self, plan: Plan, out: Output) -> None:
        """Write images and boxes."""
        for row in plan.rows():
            lines = "".join(f"{' '.join(f'{number:.2f}' for point in one.corners for number in point)} {one.kind} 0\n"
                            for one in ImageLabels.of(row).instances)
            out.picture(f"{row.split}/images/{row.file_name}", row.picture)
            out.picture(f"{row.split}/labelTxt/{row.id}.txt", lines.encode())
