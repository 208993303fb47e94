"""Images in a folder for each split, beside a `metadata.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import as_json

PICTURES = r"(real-)?[0-9a-f]{16}\.[a-z]+"


class ImagefolderExporter:
    """The layout that `load_dataset("imagefolder")` and many other tools read."""

    name = "imagefolder"
    own: ClassVar[Sequence[str]] = (rf"(train|validation|test)/({PICTURES}|metadata\.jsonl)",)
    data_files = "{split}/**"
    load = 'from datasets import load_dataset\nrows = load_dataset("imagefolder", data_dir="FOLDER", split="train")'
    loses = "nothing; what draws an image again and the scores are one JSON text, `provenance`"

    def options(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def write(self, plan: Plan, out: Output) -> None:
        """Write `SPLIT/ID.png` with the stored bytes, and a line for each in `SPLIT/metadata.jsonl`."""
        for split in plan.splits:
            with out.file(f"{split}/metadata.jsonl") as metadata:
                for row in plan.rows(split):
                    out.picture(f"{split}/{row.file_name}", row.picture)
                    metadata.write((as_json({"file_name": row.file_name} | row.flat()) + "\n").encode())
