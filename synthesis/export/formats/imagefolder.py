"""Images in a folder for each split, beside a `metadata.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import Row, as_json
from terrasynth.synthesis.ledger.label_columns import MASK, OBJECTS, categories

PICTURES = r"(real-)?[0-9a-f]{16}\.[a-z]+"


class ImagefolderExporter:
    """The layout that `load_dataset("imagefolder")` and many other tools read.

    Rows with labels have `objects` and `mask_file_name`, too, unless real rows are merged, which have neither.
    """

    name = "imagefolder"
    own: ClassVar[Sequence[str]] = (
        rf"(train|validation|test)/({PICTURES}|metadata\.jsonl)", rf"(train|validation|test)/masks/{PICTURES}",
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
    """The cells of a row's labels, with categories by name; the mask becomes a file."""
    name = f"masks/{row.id}.png"
    out.picture(f"{split}/{name}", row.columns[MASK]["bytes"])
    told = dict(row.columns[OBJECTS])
    return {"mask_file_name": name, OBJECTS: told | {"category": [categories()[each] for each in told["category"]]}}
