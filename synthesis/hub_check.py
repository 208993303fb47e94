"""Reading some rows of a pushed data set back, as its users would, and comparing them with the run."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from synthesis.errors import RunError
from synthesis.hub_files import shards_of

ROWS = 3
COMPARED = ("id", "image", "text", "captions", "label", "seed")


def read_back(root: Path, repository: str, commit: str, token: str | None, rows: int = ROWS) -> int:
    """Stream the first rows of the data set and of its last shard, and compare them with the run's.

    Returns:
        How many rows were compared.

    Raises:
        RunError: A row differs, or is not there.
    """
    shards = shards_of(root)
    asked: list[tuple[Path, str | None]] = [(shards[0], None)]
    if len(shards) > 1:
        asked.append((shards[-1], f"data/{shards[-1].name}"))
    compared = 0
    for shard, path in asked:
        mine = _local(shard, rows)
        theirs = _streamed(repository, commit, token, path, len(mine))
        if len(theirs) < len(mine):
            raise RunError(f"{repository} gives {len(theirs)} rows of {shard.name} where {len(mine)} were pushed")
        for one, other in zip(mine, theirs, strict=True):
            different = [name for name in COMPARED if one[name] != other[name]]
            if different:
                raise RunError(f"row {one['id']} of {repository} at {commit[:8]} reads back with another "
                               f"{', '.join(different)} than {shard} has")
            compared += 1
    return compared


def _local(shard: Path, rows: int) -> list[dict[str, Any]]:
    first = next(pq.ParquetFile(shard).iter_batches(batch_size=rows, columns=list(COMPARED)))
    return [row | {"image": row["image"]["bytes"]} for row in first.to_pylist()]


def _streamed(repository: str, commit: str, token: str | None, path: str | None, rows: int) -> list[dict[str, Any]]:
    from datasets import Image, config, load_dataset

    counts, config.HF_UPDATE_DOWNLOAD_COUNTS = config.HF_UPDATE_DOWNLOAD_COUNTS, False
    try:  # counted as a download, the name of the data set, private or not, would go to another host
        loaded = load_dataset(repository, split="train", streaming=True, revision=commit, token=token or False,
                              **({"data_files": {"train": path}} if path else {}))
        loaded = loaded.cast_column("image", Image(decode=False))
        return [row | {"image": row["image"]["bytes"]} for row in islice(loaded, rows)]
    finally:
        config.HF_UPDATE_DOWNLOAD_COUNTS = counts
