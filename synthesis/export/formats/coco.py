"""COCO captions: images, and a JSON file for each split that `pycocotools` reads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, ClassVar

from terrasynth.synthesis.core.files import local_folder
from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.output import JsonList, Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import Row, as_json


class CocoExporter:
    """`images/SPLIT/` and `annotations/captions_SPLIT.json`."""

    name = "coco"
    own: ClassVar[Sequence[str]] = (
        rf"images/(train|validation|test)/{PICTURES}", r"annotations/captions_(train|validation|test)\.json",
    )
    data_files = None
    load = 'from pycocotools.coco import COCO\ncaptions = COCO("FOLDER/annotations/captions_train.json")'
    loses = "scene, what draws an image again, scores"

    def options(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def write(self, plan: Plan, out: Output) -> None:
        """Write images and annotations; the numbers of images and captions are unique over all splits."""
        caption = 0
        with coco_files(plan, out, "captions") as files:
            for row in plan.rows():
                out.picture(f"images/{row.split}/{row.file_name}", row.picture)
                files[row.split].add_image(row)
                for text in row.captions:
                    caption += 1
                    files[row.split].add_annotation(caption, row, {"caption": text})


class CocoFile:
    """One JSON file; its second list is gathered in another file meanwhile.

    Args:
        spool: Where annotations are gathered.
        head: What stands before the images beside info and licences.
    """

    def __init__(self, file: BinaryIO, spool: BinaryIO, plan: Plan, split: str, head: Mapping[str, object] | None = None
                 ) -> None:
        made = "synthetic images, drawn from their captions by a model"
        described = f"{plan.run.name}, {split}: " + (f"real images and {made}" if plan.has_source else made)
        info = {"description": described, "version": plan.run.identity, "contributor": "terrasynth"}
        licences = [{"id": 1, "name": "as README.md says", "url": ""}]  # it may be stated later than this is written
        parts = {"info": info, "licenses": licences, **(head or {})}
        file.write(b"{" + ",\n".join(f"{as_json(name)}: {as_json(value)}" for name, value in parts.items()).encode()
                   + b',\n"images": ')
        self._file, self._spool = file, spool
        self._images, self._annotations = JsonList(file), JsonList(spool)

    def add_image(self, row: Row) -> None:
        """Append an image."""
        width, height = row.size()
        self._images.add({"id": row.number + 1, "file_name": row.file_name, "width": width, "height": height,
                          "license": 1, "label": row.label, "synthetic": row.columns["synthetic"]})

    def add_annotation(self, number: int, row: Row, told: Mapping[str, object]) -> None:
        """Append what is told of an image, under a number that no other has."""
        self._annotations.add({"id": number, "image_id": row.number + 1, **told})

    def close(self) -> None:
        """End both lists and put them together."""
        self._images.close()
        self._annotations.close()
        self._file.write(b',\n"annotations": ')
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._file)
        self._file.write(b"}\n")


@contextmanager
def coco_files(plan: Plan, out: Output, kind: str, head: Mapping[str, object] | None = None) -> Iterator[
    dict[str, CocoFile]
]:
    """`annotations/KIND_SPLIT.json` of each split, which are there when the block ends well."""
    with ExitStack() as stack:
        files = {}
        for split in plan.splits:
            file = stack.enter_context(out.file(f"annotations/{kind}_{split}.json"))
            spool = stack.enter_context(tempfile.TemporaryFile(dir=local_folder(out.folder)))
            files[split] = CocoFile(file, spool, plan, split, head)
        yield files
        for each in files.values():
            each.close()
