"""Change captions as LEVIR-CC has them: pairs of images, what changed as a mask, and five sentences about it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PIL import Image
from typing_extensions import override

from terrasynth.prompts.scenes.wording import words
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode, encode
from terrasynth.synthesis.export.formats.karpathy import SPLIT_NAMES
from terrasynth.synthesis.export.labels import LabelExporter
from terrasynth.synthesis.export.output import JsonList, Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import Row, RunRows, as_json
from terrasynth.synthesis.ledger.blocks import EDIT, IMAGE_AFTER
from terrasynth.synthesis.ledger.label_columns import CHANGE, CHANGE_CAPTIONS, CHANGED

FILE = "LevirCCcaptions.json"
BEFORE, AFTER, LABEL = "A", "B", "label"


class LevirCcExporter(LabelExporter):
    """`images/{train,val,test}/{A,B,label}/SPLIT_ID.png` and `LevirCCcaptions.json` (Liu et al., TGRS 2022)."""

    name = "levir-cc"
    own: ClassVar[Sequence[str]] = (
        rf"images/(train|val|test)/({BEFORE}|{AFTER}|{LABEL})/(train|val|test)_[0-9a-f]{{16}}\.png", FILE,
    )
    load = (
        f'import json\npairs = json.load(open("FOLDER/{FILE}"))["images"]\n'
        'before, after = (f"FOLDER/images/{pairs[0][\'filepath\']}/{side}/{pairs[0][\'filename\']}" for side in "AB")'
    )
    loses = "class, texts, layouts and masks of the two images, what was done, what draws an image again, scores"
    conventions = (
        "`A` is the image before, `B` the one after, `label` a gray image that is 255 where anything changed and 0 "
        "elsewhere. `changeflag` is 1 where it did; season and light alone are no change. Pillow and OpenCV read the "
        "same values."
    )

    @override
    def check(self, rows: RunRows, merged: bool) -> None:
        """Check that all rows are pairs.

        Raises:
            InputError: Some are none.
        """
        super().check(rows, merged)
        if EDIT not in rows.schema.names:
            raise InputError(f"the format {self.name} writes pairs of before and after, and run {str(rows.root)!r} has "
                             "single images; draw with prompts.pairs (docs/layouts.md)")

    def write(self, plan: Plan, out: Output) -> None:
        """Write images, masks and sentences; `raw` is a sentence as it is, `tokens` its words without marks."""
        sentence = 0
        with out.file(FILE) as file:
            file.write(b'{"images": ')
            images = JsonList(file)
            for row in plan.rows():
                split = SPLIT_NAMES[row.split]
                name = f"{split}_{row.id}.png"
                for folder, data in _files(row):
                    out.picture(f"images/{split}/{folder}/{name}", data)
                said = row.columns[CHANGE_CAPTIONS]
                numbers = range(sentence, sentence + len(said))
                images.add({
                    "filepath": split,
                    "filename": name,
                    "imgid": row.number,
                    "sentids": list(numbers),
                    "split": split,
                    "changeflag": int(row.columns[CHANGED]),
                    "sentences": [
                        {"tokens": words(text), "raw": text, "imgid": row.number, "sentid": number}
                        for number, text in zip(numbers, said, strict=True)
                    ],
                })
                sentence = numbers.stop
            images.close()
            file.write(f', "dataset": {as_json(plan.run.name)}}}\n'.encode())


def _files(row: Row) -> list[tuple[str, bytes]]:
    """The three images of a pair with their folders, as PNG files."""
    with Image.open(io.BytesIO(row.columns[CHANGE]["bytes"])) as mask:
        changed = np.asarray(mask)
    gray = io.BytesIO()
    Image.fromarray(changed * np.uint8(255)).save(gray, "PNG")
    return [(BEFORE, _png(row.picture)), (AFTER, _png(row.columns[IMAGE_AFTER]["bytes"])), (LABEL, gray.getvalue())]


def _png(stored: bytes) -> bytes:
    """A stored image as a PNG file; one that is a PNG file stays as it is."""
    return stored if stored.startswith(b"\x89PNG") else encode(decode(stored), "png")
