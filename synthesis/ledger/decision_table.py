"""`decisions.parquet`: one row an attempt, with its scores and the filter that rejected it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from terrasynth.synthesis.core.files import replacing
from terrasynth.synthesis.ledger.decisions import ClassDecisions

ALWAYS = ("alignment", "duplicate", "near_copy", "quality", "scene")
"""Filters whose scores every data set has a field for; one more would change the rows of runs without it."""


def files_read(classes: Sequence[ClassDecisions]) -> dict[str, list[Mapping[str, object]]]:
    """What is known of the files that the filters of a run read, by filter name: one, the same for all classes.

    More than one where the file was exchanged while the run began.
    """
    found: dict[str, list[Mapping[str, object]]] = {}
    for each in classes:
        for name, file in each.files.items():
            known = found.setdefault(name, [])
            known += [file] if file not in known else []
    return found


def score_names(filter_names: Sequence[str]) -> list[str]:
    """The fields of a row's `scores`: filters that most runs use, so that they stay, then others of the recipe."""
    return list(dict.fromkeys([*ALWAYS, *filter_names]))


def write_decisions(
    path: Path, classes: Sequence[ClassDecisions], filter_names: Sequence[str], attempt_id: Callable[[str, int], str]
) -> None:
    """Write one row an attempt, class by class in order of k.

    Args:
        path: The Parquet file.
        attempt_id: Gives the id of attempt k of a class.
    """
    names = score_names(filter_names)
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("label", pa.string()),
            ("k", pa.int64()),
            ("accepted", pa.bool_()),
            ("reason", pa.string()),
            ("scores", pa.struct([(name, pa.float32()) for name in names])),
        ]
    )
    with (
        replacing(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for decided in classes:
            accepted, reasons, scores = decided.columns(names)
            count = len(accepted)
            kept = pa.StructArray.from_arrays([pa.array(each, pa.float32(), mask=np.isnan(each))
                                               for each in scores.values()], fields=list(schema.field("scores").type))
            columns = [[attempt_id(decided.label, k) for k in range(count)], [decided.label] * count, range(count),
                       accepted, reasons, kept]
            table = pa.table([each if each is kept else pa.array(each, field.type)
                              for each, field in zip(columns, schema, strict=True)], schema=schema)
            writer.write_table(table)
