"""Images in a folder for each split, beside a `metadata.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import Row, as_json, suffix_of
from terrasynth.synthesis.ledger.blocks import EDIT
from terrasynth.synthesis.ledger.label_columns import CHANGE_CAPTIONS, CHANGED, IMAGES, OBJECTS, categories

FOLDERS = {"mask": "masks"}  # of columns of images; others have that of their name
PICTURES = r"(real-)?[0-9a-f]{16}\.[a-z]+"


class ImagefolderExporter:
    """The layout that `load_dataset("imagefolder")` and many other tools read.

    Rows with labels have `objects` and `mask_file_name`, too, and pairs all that follows from their edit, unless real
    rows are merged, which have none of these.
    """

    name = "imagefolder"
    own: ClassVar[Sequence[str]] = (
        rf"(train|validation|test)/({PICTURES}|metadata\.jsonl)", rf"(train|validation|test)/masks/{PICTURES}",
        rf"(train|validation|test)/(image_after|mask_after|change)/{PICTURES}",
    )
    data_files = "{split}/**"
    load = 'from datasets import load_dataset\nrows = load_dataset("imagefolder", data_dir="FOLDER", split="train")'
    loses = "nothing; what draws an image again and the scores are one JSON text, `provenance`"

    def options(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def write(self, plan: Plan, out: Output) -> None:
        """Write `SPLIT/ID.png` with the stored bytes, and a line for each in `SPLIT/metadata.jsonl`.

        Raises:
            InputError: Things are labeled in one split, and none in another.
        """
        things = dict.fromkeys(plan.splits, 0)
        for split in plan.splits:
            with out.file(f"{split}/metadata.jsonl") as metadata:
                for row in plan.rows(split):
                    out.picture(f"{split}/{row.file_name}", row.picture)
                    line = {"file_name": row.file_name} | row.flat()  # the image's name first: `datasets` gives it to
                    if OBJECTS in row.columns and not plan.has_source:  # the first column of images
                        line |= _labels(row, split, out)
                        things[split] += len(line[OBJECTS]["id"])
                    metadata.write((as_json(line) + "\n").encode())
        without = [split for split, count in things.items() if not count]
        if without and any(things.values()):
            raise InputError(f"nothing is labeled in the split {without[0]}, so that readers of metadata.jsonl would "
                             "see other types there than elsewhere; export as parquet, or with other --splits")


def _labels(row: Row, split: str, out: Output) -> dict[str, Any]:
    """The cells of a row's labels, with categories by name; masks and the image after become files."""
    names = {}
    for column in [each for each in IMAGES if each in row.columns]:
        stored = row.columns[column]
        names[f"{column}_file_name"] = f"{FOLDERS.get(column, column)}/{row.id}.{suffix_of(stored)}"
        out.picture(f"{split}/{names[f'{column}_file_name']}", stored["bytes"])
    told = dict(row.columns[OBJECTS])
    told["category"] = [categories()[each] for each in told["category"]]
    pair = {name: row.columns[name] for name in (CHANGED, CHANGE_CAPTIONS)} if EDIT in row.columns else {}
    return {**names, OBJECTS: told, **pair}
