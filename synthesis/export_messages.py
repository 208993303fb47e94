"""Parquet with `images` and `messages`: what trl and other trainers of vision-language models take as it is.

A run's own columns do not do for them: where trl finds `image` it looks for a conversation, and drops `text` unread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from synthesis.export_files import Output
from synthesis.export_llava import entry
from synthesis.export_plan import Plan
from synthesis.export_registry import whole_number
from synthesis.export_rows import Row
from synthesis.shards import GROUP_BYTES, GROUP_ROWS

ROLES = {"human": "user", "gpt": "assistant"}
PLACEHOLDER = "<image>\n"  # LLaVA's; trl and processors of transformers put their own before the first request


class MessagesExporter:
    """The conversations of the format `llava` as columns; `images` holds the one image that they are about.

    Args:
        rows_per_shard: Rows of a file.
    """

    name = "messages"
    own: ClassVar[Sequence[str]] = (r"data/(train|validation|test)-\d{5,}\.parquet",)
    data_files = "data/{split}-*.parquet"
    load = (
        'from datasets import load_dataset\nrows = load_dataset("FOLDER", split="train")   # '
        "SFTTrainer(..., train_dataset=rows) of trl takes these"
    )
    loses = "captions after the first, scene, what draws a picture again, scores"

    def __init__(self, rows_per_shard: int = 1000) -> None:
        self._rows = whole_number("rows_per_shard", rows_per_shard)

    def options(self) -> dict[str, object]:
        """What decides the files beside the rows."""
        return {"rows_per_shard": self._rows}

    def write(self, plan: Plan, out: Output) -> None:
        """Write `data/SPLIT-00000.parquet` and so on; a set that grows keeps all files but the last one's."""
        schema = _schema()
        for split in plan.splits:
            rows = plan.rows(split)
            for index in range(-(-plan.total(split) // self._rows)):
                with (
                    out.file(f"data/{split}-{index:05d}.parquet") as file,
                    pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=False, write_page_index=True,
                                     write_page_checksum=True) as writer,
                ):
                    for group in _groups(islice(rows, self._rows)):
                        writer.write_table(pa.Table.from_pylist(group, schema=schema))


def conversation(row: Row) -> dict[str, Any]:
    """A row as the format has it; the same row always gives the same."""
    told = entry(row)
    messages = [{"role": ROLES[turn["from"]], "content": turn["value"].removeprefix(PLACEHOLDER)}
                for turn in told["conversations"]]
    return {"id": row.id, "images": [{"bytes": row.picture, "path": row.file_name}], "messages": messages,
            "label": row.label, "kinds": told["kinds"], "basis": told["basis"]}


def _groups(rows: Iterable[Row]) -> Iterator[list[dict[str, Any]]]:
    """Rows as plain data, at most `GROUP_ROWS` and `GROUP_BYTES` at a time."""
    group: list[dict[str, Any]] = []
    held = 0
    for row in rows:
        if group and (len(group) == GROUP_ROWS or held + len(row.picture) > GROUP_BYTES):
            yield group
            group, held = [], 0
        group.append(conversation(row))
        held += len(row.picture)
    if group:
        yield group


def _schema() -> pa.Schema:
    from datasets import Features, Image, List, Value

    text = Value("string")
    return Features({
        "id": text, "images": List(Image()), "messages": List({"role": text, "content": text}), "label": text,
        "kinds": List(text), "basis": text,
    }).arrow_schema
