"""Parquet with `images` and `messages`: what trl and other trainers of vision-language models take as it is.

A run's own columns do not do for them: where trl finds `image` it looks for a conversation, and drops `text` unread.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from typing_extensions import override

from terrasynth.synthesis.export.formats.llava import entry
from terrasynth.synthesis.export.formats.parquet import ParquetExporter
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.rows import Row

ROLES = {"human": "user", "gpt": "assistant"}
PLACEHOLDER = "<image>\n"  # LLaVA's; trl and processors of transformers put their own before the first request


class MessagesExporter(ParquetExporter):
    """The conversations of the format `llava` as columns; `images` holds the one image that they are about."""

    name = "messages"
    load = (
        'from datasets import load_dataset\nrows = load_dataset("FOLDER", split="train")   # '
        "SFTTrainer(..., train_dataset=rows) of trl takes these"
    )
    loses = "captions after the first, scene, what draws an image again, scores"

    @override
    def _schema(self, plan: Plan) -> pa.Schema:
        from datasets import Features, Image, List, Value

        text = Value("string")
        return Features({
            "id": text, "images": List(Image()), "messages": List({"role": text, "content": text}), "label": text,
            "kinds": List(text), "basis": text,
        }).arrow_schema

    @override
    def _columns(self, row: Row) -> dict[str, Any]:
        return conversation(row)


def conversation(row: Row) -> dict[str, Any]:
    """A row as the format has it; the same row always gives the same."""
    told = entry(row)
    messages = [{"role": ROLES[turn["from"]], "content": turn["value"].removeprefix(PLACEHOLDER)}
                for turn in told["conversations"]]
    return {"id": row.id, "images": [{"bytes": row.picture, "path": row.file_name}], "messages": messages,
            "label": row.label, "kinds": told["kinds"], "basis": told["basis"]}
