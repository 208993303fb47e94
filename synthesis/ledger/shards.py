"""The data set as its users open it: the accepted rows in Parquet shards with Hugging Face image metadata.

Rows are ordered by their rank within their class, then by class: a run that grows appends, and earlier shards keep
their bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import LeftOut, what_holds
from terrasynth.synthesis.core.files import replacing
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.round_robin import round_robin
from terrasynth.synthesis.ledger.blocks import EDIT, IMAGE_AFTER, LAYOUT, TEXT_AFTER
from terrasynth.synthesis.ledger.decision_table import score_names
from terrasynth.synthesis.ledger.decisions import ClassDecisions
from terrasynth.synthesis.ledger.label_columns import label_features, with_labels

if TYPE_CHECKING:
    from terrasynth.synthesis.ledger.open_run import OpenRun

# The Hub's viewer reads whole row groups: keep them small in rows and in bytes.
GROUP_ROWS, GROUP_BYTES = 100, 100 * 2**20
READ = ["id", "k", "image", "text", "captions", "label", "seed", "prompt_source", "scene"]


def columns_read(identity: Identity) -> list[str]:
    """The columns of a block that rows are made of."""
    pair = [EDIT, IMAGE_AFTER, TEXT_AFTER] if identity.has_pairs else []
    return [*READ, LAYOUT, *pair] if identity.has_layouts else READ


def write_shards(run: OpenRun, decided: Iterable[ClassDecisions], left_out: LeftOut | None = None) -> list[Path]:
    """Write `data/`: whole shards at a time, leaving identical ones alone and removing those no longer needed.

    Args:
        left_out: Counts what captions and scenes said beyond the drawn texts.

    Returns:
        The shards, in order.

    Raises:
        RunError: The disk is full, or a block is damaged.
    """
    names = score_names(run.recipe.filter_names)
    rows = (with_labels(row if settled else what_holds(row, left_out), row.get(LAYOUT))
            for row, settled in accepted_rows(run, decided, names))
    schema = _schema(names, run.identity.has_layouts, run.identity.has_pairs)
    written: list[Path] = []
    while (first := next(rows, None)) is not None:
        path = layout.shard_file(run.root, len(written))
        _write_shard(path, schema, first, islice(rows, run.recipe.output.rows_per_shard - 1))
        written.append(path)
    for path in layout.shard_files(run.root):
        if path not in written:
            path.unlink()
    return written


def accepted_rows(run: OpenRun, decided: Iterable[ClassDecisions], names: list[str]
                  ) -> Iterator[tuple[dict[str, Any], bool]]:
    """The accepted rows in order, as the blocks have them; at most one block a class is in memory.

    Each comes with whether it is known that its captions and scene say no more than its text.
    """
    return round_robin([_class_rows(run, each, names) for each in decided])


def _class_rows(run: OpenRun, decided: ClassDecisions, names: list[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    constant = {
        "generator": run.source.name,
        "revision": run.source.revision,
        "guidance": run.source.guidance,
        "steps": run.source.steps,
        "synthetic": True,
    }
    read = columns_read(run.identity)
    for index in range(decided.blocks):
        kept = [each for each in decided.block(index) if each.accepted]
        if not kept:
            continue
        start, settled = index * run.blocks.block_size, run.blocks.is_settled(decided.label, index)
        table = run.blocks.read(decided.label, index, read).take([each.k - start for each in kept])
        for decision, row in zip(kept, table.to_pylist(), strict=True):
            yield row | constant | {"scores": {name: decision.scores.get(name) for name in names}}, settled


def _schema(names: list[str], layouts: bool, pairs: bool = False) -> pa.Schema:
    from datasets import Features, Image, List, Value

    features = Features(
        {
            "id": Value("string"),
            "image": Image(),
            "text": Value("string"),
            "captions": List(Value("string")),
            "label": Value("string"),
            "generator": Value("string"),
            "revision": Value("string"),
            "seed": Value("int64"),
            "guidance": Value("float32"),
            "steps": Value("int32"),
            "prompt_source": Value("string"),
            "scene": Value("string"),
            **({LAYOUT: Value("string"), **label_features(pairs)} if layouts else {}),
            "scores": {name: Value("float32") for name in names},
            "synthetic": Value("bool"),
        }
    )
    return features.arrow_schema


def _write_shard(path: Path, schema: pa.Schema, first: dict[str, Any], others: Iterable[dict[str, Any]]) -> None:
    with (
        replacing(path) as file,
        pq.ParquetWriter(
            file, schema, compression="zstd", use_dictionary=False, write_page_index=True, write_page_checksum=True
        ) as writer,
    ):
        group, held = [first], _size(first)
        for row in others:
            size = _size(row)
            if len(group) == GROUP_ROWS or held + size > GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group, held = [], 0
            group.append(row)
            held += size
        writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _size(row: dict[str, Any]) -> int:
    """Bytes of a row's images."""
    return sum(len(row[name]["bytes"]) for name in ("image", IMAGE_AFTER) if row.get(name))
