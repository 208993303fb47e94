"""What rows of a data set may say of an image: no more than the text that it was drawn from.

The rule is `prompts.scenes.entailment`. It is applied wherever rows leave the ledger, so that blocks of an earlier
version, whose captions and scenes told of more than was drawn, give the same data set as those of this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrasynth.prompts.scenes.entailment import REVISION, cut
from terrasynth.synthesis.core.files import readable

NEEDED = ("text", "label", "captions", "scene")
"""Columns that the rule reads."""

RULE = str(REVISION)
"""What results note, so that those of another rule are made again."""


@dataclass
class LeftOut:
    """What rows said beyond their texts, and say no more.

    Attributes:
        captions: Captions that were left out of them.
    """

    rows: int = 0
    captions: int = 0


def says_more(shard: Path) -> bool:
    """Whether a row of a Parquet file of a run says more than its text; a file that cannot be read says nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(readable(shard)) as file:
            for batch in file.iter_batches(1000, columns=list(NEEDED)):
                for row in batch.to_pylist():
                    held = what_holds(row)
                    if held["captions"] != row["captions"] or held["scene"] != row["scene"]:
                        return True
    except (pa.ArrowException, OSError, KeyError):
        return False
    return False


def what_holds(row: Mapping[str, Any], left_out: LeftOut | None = None) -> dict[str, Any]:
    """A row with captions and scene that its text implies.

    Args:
        row: Plain data with the columns `NEEDED`.
        left_out: Counts what was left out.
    """
    captions, scene = cut(row["text"], row["label"], row["captions"], row["scene"])
    if left_out is not None:
        fewer = len(row["captions"]) - len(captions)
        left_out.captions += fewer
        left_out.rows += fewer > 0 or scene != row["scene"]
    return {**row, "captions": list(captions), "scene": scene}
