"""Visual grounding as DIOR-RSVG has it: expressions that are true of exactly one thing, each with its box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from xml.etree import ElementTree

from typing_extensions import override

from terrasynth.prompts.layouts.regions import Expression, expressions
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.formats.karpathy import SPLIT_NAMES
from terrasynth.synthesis.export.formats.voc import add_texts, as_xml, image_element
from terrasynth.synthesis.export.labels import ImageLabels, LabelExporter
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.registry import whole_number


class GroundingExporter(LabelExporter):
    """`SPLIT/JPEGImages/ID.png`, `SPLIT/Annotations/ID.xml` and `SPLIT/SPLIT.txt` with the numbers of the expressions.

    Readers of DIOR-RSVG number expressions in the order in which the system lists the files, which differs from disk to
    disk. Each split has a folder of its own and all numbers of it, so that the order decides nothing.

    Args:
        per_thing: Expressions of a thing, at most.
    """

    name = "grounding"
    own: ClassVar[Sequence[str]] = (
        rf"(train|validation|test)/JPEGImages/{PICTURES}", r"(train|validation|test)/Annotations/[0-9a-f]{16}\.xml",
        r"(train|validation|test)/(train|val|test)\.txt",
    )
    load = (
        'from xml.etree import ElementTree\n'
        'things = ElementTree.parse("FOLDER/train/Annotations/ID.xml").getroot().findall("object")\n'
        'said = [(one.findtext("description"), [int(end.text) for end in one.find("bndbox")]) for one in things]'
    )
    loses = (
        "things that no expression singles out, masks, oriented boxes, captions, land cover, scene, what draws an "
        "image again, scores"
    )
    conventions = (
        "Each `object` is a `description` that is true of exactly one thing of the image, with its `bndbox` in pixels "
        "from 0, far ends excluded: columns xmin to xmax - 1 and rows ymin to ymax - 1."
    )

    def __init__(self, per_thing: int = 1) -> None:
        self._per_thing = whole_number("per_thing", per_thing)

    @override
    def options(self) -> dict[str, object]:
        """What decides the files beside the rows."""
        return {"per_thing": self._per_thing}

    def write(self, plan: Plan, out: Output) -> None:
        """Write images, expressions and their numbers."""
        for split in plan.splits:
            count = 0
            for row in plan.rows(split):
                labels = ImageLabels.of(row)
                root = image_element(row, plan, labels.side, "JPEGImages", self.conventions)
                for one in expressions_of(labels, Draws(self.name, row.id), self._per_thing):
                    thing = ElementTree.SubElement(root, "object")
                    add_texts(thing, {"name": labels.instance(one.number).kind, "pose": "Unspecified"})
                    ends = zip(("xmin", "ymin", "xmax", "ymax"), labels.instance(one.number).box, strict=True)
                    add_texts(ElementTree.SubElement(thing, "bndbox"), dict(ends))
                    add_texts(thing, {"description": one.text})
                    count += 1
                out.picture(f"{split}/JPEGImages/{row.file_name}", row.picture)
                out.picture(f"{split}/Annotations/{row.id}.xml", as_xml(root))
            with out.file(f"{split}/{SPLIT_NAMES[split]}.txt") as numbers:
                numbers.write("".join(f"{number}\n" for number in range(count)).encode())


def expressions_of(labels: ImageLabels, draws: Draws, per_thing: int) -> Sequence[Expression]:
    """Expressions about an image; none where it does not show all that they count among."""
    return expressions(labels.said, draws, per_thing) if labels.complete else ()
