"""Instruction JSON as LLaVA is trained with: a caption, then questions and answers, about each image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from terrasynth.synthesis.export.formats.imagefolder import PICTURES
from terrasynth.synthesis.export.output import JsonList, Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.questions import Question, questions
from terrasynth.synthesis.export.rows import Row

REQUESTS = (
    "Describe the image in one sentence.",
    "What does this image from above show?",
    "Write a short caption for this remote-sensing image.",
    "Say in one sentence what can be seen here.",
    "Give a brief description of this overhead view.",
    "How would you caption this aerial view?",
)


class LlavaExporter:
    """`images/SPLIT/` and `llava_SPLIT.json`: `id`, `image` and `conversations` of each row.

    Beside these, `kinds` says what each exchange is about, and `basis` what the answers rest on: of a synthetic
    image the drawn text, of a real one, or of one that a person reviewed, what people said of it.
    """

    name = "llava"
    own: ClassVar[Sequence[str]] = (
        rf"images/(train|validation|test)/{PICTURES}", r"llava_(train|validation|test)\.json",
    )
    data_files = None
    load = 'import json\nrows = json.load(open("FOLDER/llava_train.json"))   # images: FOLDER/images'
    loses = "captions after the first, scene, what draws an image again, scores"

    def options(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def write(self, plan: Plan, out: Output) -> None:
        """Write images and JSON; `image` is relative to `images/`."""
        write_entries(plan, out, entry)


def write_entries(plan: Plan, out: Output, made: Callable[[Row], dict[str, Any]]) -> None:
    """Write the images and a JSON file for each split, with what is made of each row."""
    for split in plan.splits:
        with out.file(f"llava_{split}.json") as file:
            entries = JsonList(file)
            for row in plan.rows(split):
                out.picture(f"images/{split}/{row.file_name}", row.picture)
                entries.add(made(row))
            entries.close()
            file.write(b"\n")


def entry(row: Row) -> dict[str, Any]:
    """The entry of a row; the same row always gives the same one."""
    synthetic = bool(row.columns["synthetic"])
    request = REQUESTS[hashlib.blake2b(row.id.encode()).digest()[0] % len(REQUESTS)]
    asked = [Question("caption", f"<image>\n{request}", row.text)]
    if synthetic:
        asked += questions(row.id, row.label, row.scene, row.text)
    turns = [{"from": speaker, "value": said} for one in asked
             for speaker, said in (("human", one.text), ("gpt", one.answer))]
    return {"id": row.id, "image": f"{row.split}/{row.file_name}", "conversations": turns,
            "kinds": [one.kind for one in asked], "basis": row.basis}
