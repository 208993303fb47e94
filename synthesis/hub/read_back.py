"""Reading some of a pushed data set back, as its users would, and comparing it with the folder it came from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.hub.files import LocalFile

ROWS = 3
COMPARED = ("id", "image", "text", "captions", "label", "seed")


def read_back(root: Path, repository: str, commit: str, token: str | None, rows: int = ROWS) -> int:
    """Stream the first rows of the data set and of its last shard, and compare them with the run's.

    Returns:
        How many rows were compared.

    Raises:
        RunError: A row differs, or is not there.
    """
    shards = layout.shard_files(root)
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


def read_back_splits(
    root: Path, splits: Sequence[str], repository: str, commit: str, token: str | None, rows: int = ROWS
) -> int:
    """Stream the first rows of each split, and compare all columns and pixels with those of the folder.

    Returns:
        How many rows were compared.

    Raises:
        RunError: A row differs, or is not there.
    """
    compared = 0
    for split in splits:
        mine = _rows(str(root), split, rows)
        theirs = _rows(repository, split, rows, revision=commit, token=token or False)
        if len(theirs) < len(mine):
            raise RunError(f"{repository} gives {len(theirs)} rows of {split} where {len(mine)} were pushed")
        for number, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            different = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
            if different:
                raise RunError(f"row {number} of {split} of {repository} at {commit[:8]} reads back with another "
                               f"{', '.join(different)} than {str(root)!r} has")
        compared += len(mine)
    return compared


def read_back_files(files: Sequence[LocalFile], repository: str, commit: str, token: str | None) -> int:
    """Download the first, middle and last file, and compare their bytes.

    Returns:
        How many files were compared.

    Raises:
        RunError: A file differs.
    """
    from huggingface_hub import hf_hub_download

    chosen = [files[place] for place in sorted({0, len(files) // 2, len(files) - 1})]
    for file in chosen:
        with tempfile.TemporaryDirectory() as folder:
            path = hf_hub_download(repository, file.path, repo_type="dataset", revision=commit, token=token or False,
                                   local_dir=folder)
            if LocalFile(file.path, Path(path)).sha256 != file.sha256:
                raise RunError(f"{file.path} of {repository} at {commit[:8]} reads back with other bytes than were "
                               "pushed")
    return len(chosen)


def _rows(place: str, split: str, rows: int, **options: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """The first rows of a split as `datasets` streams them, without what differs from place to place."""
    from datasets import load_dataset

    with _uncounted():
        loaded = load_dataset(place, split=split, streaming=True, **options)
        loaded = loaded.decode(False)  # which is done by threads that would fetch images beyond these rows
        tokens = {place: options.get("token")}
        return [{name: _plain(value, tokens) for name, value in row.items() if name != "__url__"}
                for row in islice(loaded, rows)]


def _plain(value: Any, tokens: dict[str, Any]) -> Any:  # noqa: ANN401 - a cell
    """A cell as what `==` compares: an image as its pixels."""
    from datasets import Image

    if isinstance(value, list):
        return [_plain(each, tokens) for each in value]
    if not isinstance(value, dict) or value.keys() != {"path", "bytes"}:
        return value
    picture = Image().decode_example(value, tokens)
    return picture.size, picture.mode, picture.tobytes()


@contextmanager
def _uncounted() -> Iterator[None]:
    """Counted as a download, the name of the data set, private or not, would go to another host."""
    from datasets import config

    counts, config.HF_UPDATE_DOWNLOAD_COUNTS = config.HF_UPDATE_DOWNLOAD_COUNTS, False
    try:
        yield
    finally:
        config.HF_UPDATE_DOWNLOAD_COUNTS = counts


def _local(shard: Path, rows: int) -> list[dict[str, Any]]:
    first = next(pq.ParquetFile(readable(shard)).iter_batches(batch_size=rows, columns=list(COMPARED)))
    return [row | {"image": row["image"]["bytes"]} for row in first.to_pylist()]


def _streamed(repository: str, commit: str, token: str | None, path: str | None, rows: int) -> list[dict[str, Any]]:
    from datasets import Image, load_dataset

    with _uncounted():
        loaded = load_dataset(repository, split="train", streaming=True, revision=commit, token=token or False,
                              **({"data_files": {"train": path}} if path else {}))
        loaded = loaded.cast_column("image", Image(decode=False))
        return [row | {"image": row["image"]["bytes"]} for row in islice(loaded, rows)]
