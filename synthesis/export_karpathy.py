"""Karpathy-style JSON, the format of RSICD and UCM-Captions: captioning and retrieval code reads it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from prompts.wording import words
from synthesis.export_files import JsonList, Output
from synthesis.export_plan import Plan
from synthesis.export_rows import as_json

SPLIT_NAMES = {"train": "train", "validation": "val", "test": "test"}


class KarpathyExporter:
    """`images/` and one `dataset_NAME.json` with all splits.

    A picture's file is called CLASS_ID: those who read this format know a class by its file name.
    """

    name = "karpathy"
    own: ClassVar[Sequence[str]] = (r"images/[^/]*_(real-)?[0-9a-f]{16}\.[a-z]+", r"dataset_[^/]+\.json")
    data_files = None
    load = 'import json\nimages = json.load(open("FOLDER/dataset_NAME.json"))["images"]'
    loses = "scene, what draws a picture again, scores, `source` (the file name of a real picture has `real` in it)"

    def options(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def write(self, plan: Plan, out: Output) -> None:
        """Write pictures and JSON; `raw` is the caption as it is, `tokens` its words in lower case without marks."""
        sentence = 0
        with out.file(f"dataset_{plan.run.name}.json") as file:
            file.write(b'{"images": ')
            images = JsonList(file)
            for row in plan.rows():
                name = f"{row.label}_{row.file_name}"
                out.picture(f"images/{name}", row.picture)
                numbers = range(sentence, sentence + len(row.captions))
                images.add({
                    "filename": name,
                    "imgid": row.number,
                    "sentences": [
                        {"tokens": words(caption), "raw": caption, "imgid": row.number, "sentid": number}
                        for number, caption in zip(numbers, row.captions, strict=True)
                    ],
                    "split": SPLIT_NAMES[row.split],
                    "sentids": list(numbers),
                })
                sentence = numbers.stop
            images.close()
            file.write(f', "dataset": {as_json(plan.run.name)}}}\n'.encode())
