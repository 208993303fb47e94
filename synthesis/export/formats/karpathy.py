"""Karpathy-style JSON, the format of RSICD and UCM-Captions: captioning and retrieval code reads it as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import quote

from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.wording import find_label, words
from terrasynth.synthesis.export.output import JsonList, Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import as_json

MOST_BYTES = 180  # of a class in a file name, of which most file systems take 255 in all
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")
SPLIT_NAMES = {"train": "train", "validation": "val", "test": "test"}


class KarpathyExporter:
    """`images/` and one `dataset_NAME.json` with all splits.

    An image's file is called CLASS_ID: those who read this format know a class by its file name. An entry whose class
    a file name cannot say, or no reader would take from it, has the key `class` besides.
    """

    name = "karpathy"
    own: ClassVar[Sequence[str]] = (r"images/[^/]*_(real-)?[0-9a-f]{16}\.[a-z]+", r"dataset_[^/]+\.json")
    data_files = None
    load = 'import json\nimages = json.load(open("FOLDER/dataset_NAME.json"))["images"]'
    loses = "scene, what draws an image again, scores, `source` (the file name of a real image has `real` in it)"

    def options(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def write(self, plan: Plan, out: Output) -> None:
        """Write images and JSON; `raw` is the caption as it is, `tokens` its words in lower case without marks."""
        sentence = 0
        with out.file(f"dataset_{plan.run.name}.json") as file:
            file.write(b'{"images": ')
            images = JsonList(file)
            for row in plan.rows():
                called, entry = named(row.label)
                name = f"{called}_{row.file_name}"
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
                } | entry)
                sentence = numbers.stop
            images.close()
            file.write(f', "dataset": {as_json(plan.run.name)}}}\n'.encode())


@lru_cache
def named(label: str) -> tuple[str, dict[str, Any]]:
    """A class as a file name can hold it, and what an entry says of the class besides."""
    called = _UNSAFE.sub(lambda match: quote(match[0], safe=""), label)
    while len(called.encode()) > MOST_BYTES:
        called = called[: len(called) * 9 // 10]
    ontology = load_ontology("open")
    is_told = called == label and (not label or find_label(label, ontology.classes, ontology) is not None)
    return called, {} if is_told else {"class": label}
