"""Pascal VOC: one XML file of upright boxes for each image, and lists of the images of each split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from xml.etree import ElementTree

from terrasynth.prompts.layouts.labels import Instance
from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.formats.karpathy import SPLIT_NAMES
from terrasynth.synthesis.export.labels import ImageLabels, LabelExporter
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import Row


class VocExporter(LabelExporter):
    """`JPEGImages/ID.png` (whatever their encoding), `Annotations/ID.xml` and `ImageSets/Main/SPLIT.txt`."""

    name = "voc"
    own: ClassVar[Sequence[str]] = (
        rf"JPEGImages/{PICTURES}", r"Annotations/[0-9a-f]{16}\.xml", r"ImageSets/Main/(train|val|test)\.txt",
    )
    load = (
        'from xml.etree import ElementTree\n'
        'things = ElementTree.parse("FOLDER/Annotations/ID.xml").getroot().findall("object")'
    )
    loses = "masks, oriented boxes, colors, captions, land cover, scene, what draws an image again, scores"
    conventions = (
        "`bndbox` counts pixels from 1 and includes its far ends, as Pascal VOC does: columns xmin to xmax, rows ymin "
        "to ymax, the first of all being 1. It holds the pixels that are seen. `truncated` is 1 where the oriented box "
        "of the thing reaches beyond the image."
    )

    def write(self, plan: Plan, out: Output) -> None:
        """Write images, boxes and lists of ids."""
        for split in plan.splits:
            with out.file(f"ImageSets/Main/{SPLIT_NAMES[split]}.txt") as names:
                for row in plan.rows(split):
                    out.picture(f"JPEGImages/{row.file_name}", row.picture)
                    out.picture(f"Annotations/{row.id}.xml", self._annotation(row, plan))
                    names.write(f"{row.id}\n".encode())

    def _annotation(self, row: Row, plan: Plan) -> bytes:
        labels = ImageLabels.of(row)
        root = image_element(row, plan, labels.side, "JPEGImages", self.conventions)
        for one in labels.instances:
            thing = ElementTree.SubElement(root, "object")
            left, top, right, bottom = one.box
            add_texts(thing, {"name": one.kind, "pose": "Unspecified", "truncated": int(_is_cut(labels, one)),
                              "difficult": 0})
            add_texts(ElementTree.SubElement(thing, "bndbox"),
                      {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom})
        return as_xml(root)


def image_element(row: Row, plan: Plan, side: int, folder: str, comment: str) -> ElementTree.Element:
    """The element of an image, with what VOC says of it before its objects."""
    root = ElementTree.Element("annotation")
    root.append(ElementTree.Comment(f" {comment} "))
    add_texts(root, {"folder": folder, "filename": row.file_name})
    add_texts(ElementTree.SubElement(root, "source"), {"database": plan.run.name, "annotation": "terrasynth",
                                                       "image": "synthetic"})
    add_texts(ElementTree.SubElement(root, "size"), {"width": side, "height": side, "depth": 3})
    add_texts(root, {"segmented": 0})
    return root


def add_texts(parent: ElementTree.Element, texts: dict[str, object]) -> None:
    """Append an element for each text."""
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = str(text)


def as_xml(root: ElementTree.Element) -> bytes:
    """A tree as the bytes of a file, with an element on each line."""
    ElementTree.indent(root)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _is_cut(labels: ImageLabels, one: Instance) -> bool:
    return not labels.is_inside(one)
