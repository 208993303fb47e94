"""The accepted images of a finished run, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.ledger.block_files import UNREADABLE, unreadable_file
from terrasynth.synthesis.ledger.finished import without_images

COLUMNS = ["id", "image", "text", "label", "scene", "prompt_source", "seed"]


@dataclass(frozen=True)
class RunPictures:
    """The first rows of a data set, which spread evenly over its classes.

    Attributes:
        images: uint8 (N, H, W, 3).
        scenes: JSON of what the expander knew of each.
        sources: Expander of each.
        seeds: Of the noise of each; empty where rows of other origin are mixed in.
    """

    images: NDArray[np.uint8]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    scenes: tuple[str, ...]
    sources: tuple[str, ...]
    seeds: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.images.shape[2], self.images.shape[1]

    @classmethod
    def read(cls, run: Path, limit: int | None = None) -> RunPictures:
        """Read `data/` of a run directory.

        Args:
            limit: Most rows; None for all.

        Raises:
            InputError: No data set there, or no row in it.
            RunError: A shard is damaged.
        """
        rows = read_rows(run, COLUMNS, limit)
        columns = {name: tuple(row[name] for row in rows) for name in COLUMNS if name != "image"}
        return cls(
            np.stack([decode(row["image"]["bytes"]) for row in rows]), columns["id"], columns["text"],
            columns["label"], columns["scene"], columns["prompt_source"], columns["seed"],
        )


def read_rows(run: Path, columns: Sequence[str], limit: int | None = None) -> list[dict[str, Any]]:
    """The first rows of `data/` of a run directory, those of `columns` that it has; at least one.

    Raises:
        InputError: No data set there, or no row in it.
        RunError: A shard is damaged.
    """
    shards = layout.shard_files(run)
    if not shards:
        why = without_images(run) if (run / layout.IDENTITY).is_file() else "give the folder of a finished run"
        raise InputError(f"{str(run)!r} has no {layout.DATA}: {why}")
    rows = list(islice((row for shard in shards for row in _rows_of(shard, columns)), limit))
    if not rows:
        raise InputError(f"the data set of {str(run)!r} has no rows; loosen its filters and run it again")
    return rows


def _rows_of(shard: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(readable(shard), page_checksum_verification=True) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=100, columns=there):
                yield from batch.to_pylist()
    except UNREADABLE as error:
        raise unreadable_file(shard, error, "; `terrasynth verify --repair` says what helps") from error
