"""The accepted pictures of a finished run, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from synthesis.errors import InputError
from synthesis.images import decode

COLUMNS = ["id", "image", "text", "label", "scene", "prompt_source", "seed"]


@dataclass(frozen=True)
class RunPictures:
    """The first rows of a data set, which spread evenly over its classes.

    Attributes:
        images: uint8 (N, H, W, 3).
        ids: Of the rows.
        texts: What was asked for.
        labels: The class of each.
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
            run: The directory.
            limit: Most rows; None for all.

        Raises:
            InputError: No data set there, or no row in it.
        """
        shards = sorted((run / "data").glob("train-*.parquet"))
        if not shards:
            raise InputError(f"{str(run)!r} has no data/train-*.parquet; give the folder of a finished run")
        batches = (
            batch for shard in shards for batch in pq.ParquetFile(shard).iter_batches(batch_size=100, columns=COLUMNS)
        )
        rows = list(islice((row for batch in batches for row in batch.to_pylist()), limit))
        if not rows:
            raise InputError(f"the data set of {str(run)!r} has no rows; loosen its filters and run it again")
        columns = {name: tuple(row[name] for row in rows) for name in COLUMNS if name != "image"}
        return cls(
            np.stack([decode(row["image"]["bytes"]) for row in rows]), columns["id"], columns["text"],
            columns["label"], columns["scene"], columns["prompt_source"], columns["seed"],
        )
