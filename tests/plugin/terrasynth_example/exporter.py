"""The `captions` format: a text file for each split, a line an image."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan


class CaptionsExporter:
    """`SPLIT.txt` with `file name<TAB>caption`, and the images in `images/`."""

    name = "captions"
    own: ClassVar[Sequence[str]] = (r"images/[^/]+", r"(train|validation|test)\.txt")
    data_files = None
    load = 'lines = open("FOLDER/train.txt", encoding="utf-8").read().splitlines()'
    loses = "all but the first caption"

    def options(self) -> dict[str, object]:
        """What decides the files beside the rows."""
        return {}

    def write(self, plan: Plan, out: Output) -> None:
        """Write every row; equal plans give equal bytes."""
        with ExitStack() as stack:
            files = {split: stack.enter_context(out.file(f"{split}.txt")) for split in plan.splits}
            for row in plan.rows():
                out.picture(f"images/{row.file_name}", row.picture)
                files[row.split].write(f"{row.file_name}\t{row.captions[0]}\n".encode())
