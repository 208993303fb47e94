"""COCO captions: images, and a JSON file for each split that `pycocotools` reads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import BinaryIO, ClassVar

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
        with ExitStack() as stack:
            files = {}
            for split in plan.splits:
                file = stack.enter_context(out.file(f"annotations/captions_{split}.json"))
                spool = stack.enter_context(tempfile.TemporaryFile(dir=out.folder))
                files[split] = _Captions(file, spool, plan, split)
            for row in plan.rows():
                out.picture(f"images/{row.split}/{row.file_name}", row.picture)
                caption = files[row.split].add(row, caption)
            for each in files.values():
                each.close()


class _Captions:
    """One JSON file; its second list is gathered in another file meanwhile."""

    def __init__(self, file: BinaryIO, spool: BinaryIO, plan: Plan, split: str) -> None:
        made = "synthetic images, drawn from their captions by a model"
        described = f"{plan.run.name}, {split}: " + (f"real images and {made}" if plan.has_source else made)
        info = {"description": described, "version": plan.run.identity, "contributor": "terrasynth"}
        licences = [{"id": 1, "name": "as README.md says", "url": ""}]  # it may be stated later than this is written
        file.write(f'{{"info": {as_json(info)},\n"licenses": {as_json(licences)},\n"images": '.encode())
        self._file, self._spool = file, spool
        self._images, self._annotations = JsonList(file), JsonList(spool)

    def add(self, row: Row, caption: int) -> int:
        """Append an image with its captions; gives the number of captions so far."""
        width, height = row.size()
        self._images.add({"id": row.number + 1, "file_name": row.file_name, "width": width, "height": height,
                          "license": 1, "label": row.label, "synthetic": row.columns["synthetic"]})
        for text in row.captions:
            caption += 1
            self._annotations.add({"id": caption, "image_id": row.number + 1, "caption": text})
        return caption

    def close(self) -> None:
        """End both lists and put them together."""
        self._images.close()
        self._annotations.close()
        self._file.write(b',\n"annotations": ')
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._file)
        self._file.write(b"}\n")
