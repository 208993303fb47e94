"""Parquet with the `Image` feature of `datasets`, in splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.registry import whole_number
from terrasynth.synthesis.export.rows import Row
from terrasynth.synthesis.ledger.shards import GROUP_BYTES, GROUP_ROWS


class ParquetExporter:
    """Shards of whole rows, as a run has them; row groups are small enough for the Hub's viewer.

    Args:
        rows_per_shard: Rows of a file.
    """

    name = "parquet"
    own: ClassVar[Sequence[str]] = (r"data/(train|validation|test)-\d{5,}\.parquet",)
    data_files = "data/{split}-*.parquet"
    load = 'from datasets import load_dataset\nrows = load_dataset("FOLDER", split="train")'
    loses = "nothing"

    def __init__(self, rows_per_shard: int = 1000) -> None:
        self._rows = whole_number("rows_per_shard", rows_per_shard)

    def options(self) -> dict[str, object]:
        """What decides the files beside the rows."""
        return {"rows_per_shard": self._rows}

    def write(self, plan: Plan, out: Output) -> None:
        """Write `data/SPLIT-00000.parquet` and so on; a set that grows keeps all files but the last one's."""
        schema = self._schema(plan)
        for split in plan.splits:
            rows = plan.rows(split)
            for index in range(-(-plan.total(split) // self._rows)):
                with (
                    out.file(f"data/{split}-{index:05d}.parquet") as file,
                    pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=False,
                                     write_page_index=True) as writer,
                ):
                    for group in _groups(islice(rows, self._rows), self._columns):
                        writer.write_table(pa.Table.from_pylist(group, schema=schema))

    def _schema(self, plan: Plan) -> pa.Schema:
        return plan.schema()

    def _columns(self, row: Row) -> dict[str, Any]:
        return {**row.columns, "image": {"bytes": row.picture, "path": row.file_name}}


def _groups(rows: Iterable[Row], columns: Callable[[Row], dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows as plain data, at most `GROUP_ROWS` and `GROUP_BYTES` at a time."""
    group: list[dict[str, Any]] = []
    held = 0
    for row in rows:
        if group and (len(group) == GROUP_ROWS or held + len(row.picture) > GROUP_BYTES):
            yield group
            group, held = [], 0
        group.append(columns(row))
        held += len(row.picture)
    if group:
        yield group
