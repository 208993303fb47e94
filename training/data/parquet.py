"""Parquet files, read as they are: `datasets` would give what its cache holds under the same card and file sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.training.data.image_rules import ImageRule
from terrasynth.training.data.images import FileImage, image_in
from terrasynth.training.data.pairs import Opener
from terrasynth.training.data.places import Root, open_file
from terrasynth.training.data.rows import CAPTIONS, LABEL, SPLITS, Row, pick
from terrasynth.training.data.settings import Source
from terrasynth.training.data.stamps import Stamp, stamp_of
from terrasynth.training.errors import ImageError, InputError, is_shortage

IMAGE = "image"
NAMES = {"train": "train", "validation": "val", "test": "test"}
_WORDS = re.compile(r"[-._ 0-9/]+")
_BATCH = 256


@dataclass(frozen=True)
class ParquetImage:
    """Opens an image in a Parquet file, which may not have changed since it was listed.

    Attributes:
        stamp: What it was when it was listed.
        row: Row in it.
        rule: What the user states of its pixels.
    """

    path: Path
    stamp: Stamp
    column: str
    group: int
    row: int
    rule: ImageRule

    def __call__(self) -> Image.Image:
        """The image as `read_image` gives it.

        Raises:
            ImageError: See `read_image`; also if the file has changed.
        """
        data = bytes_of(_group(self.path, self.stamp, self.column, self.group)[self.row].as_py())
        if data is None:
            raise ImageError("no bytes of an image")
        return image_in(data, self.rule)


def plain_rows(path: Path, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a small Parquet file, such as `metadata.parquet`, each with its place.

    Raises:
        InputError: It is damaged.
    """
    with _readable(path, place) as file:
        names = class_names(file.schema_arrow, {})
        start = 0
        for batch in file.iter_batches(_BATCH, use_threads=False):
            for number, row in enumerate(batch.to_pylist(), start):
                yield f"{place}[{number}]", named_classes(row, names)
            start += len(batch)


def read_shard(root: Root, place: str, split: str, number: int, header: Mapping[str, Any], source: Source
               ) -> Iterator[Row]:
    """The rows of a Parquet file.

    Args:
        root: The folder of the data set.
        place: The file, relative to it.
        split: The split that it belongs to; "" if rows say so themselves, or nothing does.
        number: Rows of this split in earlier files.
        header: The YAML header of the data set's card.

    Raises:
        InputError: It is damaged, or has no column of images.
    """
    path = root.inside(root.folder / place, place)
    stamp = stamp_of(path)
    image = source.columns.get("image") or IMAGE
    with _readable(path, place) as file:
        schema = file.schema_arrow
        check_image(schema, image, place)
        check_columns(schema.names, source, place)
        names = class_names(schema, header)
        wanted = [name for name in schema.names if name in wanted_columns(source) - {image}]
        for group in range(file.num_row_groups):
            beside = _paths(file, group, image)
            cells = file.read_row_group(group, wanted, use_threads=False).to_pylist() if wanted else [{}] * len(beside)
            for row, (name, found) in enumerate(zip(beside, cells, strict=True)):
                where = f"{place}[{row}]" if file.num_row_groups == 1 else f"{place}[group {group}, {row}]"
                opener: Opener | None = ParquetImage(path, stamp, image, group, row, source.rule)
                other = None
                if name is not None:
                    other = root.find(name, where, str(PurePosixPath(place).parent)) if name else None
                    opener = None if other is None else FileImage(other, source.rule)
                found = named_classes(found, names)
                yield Row(where, f"{split or 'train'}[{number}]",
                          pick(found, source.columns, "captions", CAPTIONS, where),
                          pick(found, source.columns, "label", LABEL, where), split or found.get("split"), "",
                          pick(found, source.columns, "gsd", ("gsd",), where), opener, path=str(other or ""))
                number += 1


def wanted_columns(source: Source) -> set[str]:
    """The columns that can have a role."""
    return {*CAPTIONS, *LABEL, "split", "gsd", *(column for column in source.columns.values() if column)}


def check_columns(names: Sequence[str], source: Source, place: str) -> None:
    """Check that the columns that the user named are there.

    Raises:
        InputError: One is not.
    """
    for role, column in source.columns.items():
        if column is not None and column not in names:
            raise InputError(f"column {column!r} for {role} is not in {place!r}; it has {', '.join(names)}")


def check_image(schema: pa.Schema, column: str, place: str) -> None:
    """Check that there is a column of images: bytes, or bytes and path.

    Raises:
        InputError: There is none.
    """
    if column not in schema.names:
        raise InputError(f"column {column!r} for image is not in {place!r}; it has {', '.join(schema.names)}")
    kind = schema.field(column).type
    fields = {kind.field(n).name for n in range(kind.num_fields)} if pa.types.is_struct(kind) else set()
    if not (fields & {"bytes", "path"} or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
            or pa.types.is_string(kind)):
        raise InputError(f"column {column!r} of {place!r} holds {kind}, and no images; name another one as image")


def bytes_of(cell: object) -> bytes | None:
    """The bytes of an image cell; None if it has none."""
    found = cell.get("bytes") if isinstance(cell, Mapping) else cell
    return found if isinstance(found, bytes) else None


def class_names(schema: pa.Schema, header: Mapping[str, Any]) -> dict[str, list[str]]:
    """The class names of each column of numbers, as `datasets` writes them into a schema or a card."""
    names = _in_card(header)
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        for column, feature in features.items():
            if feature.get("_type") == "ClassLabel" and feature.get("names"):
                names[column] = [str(name) for name in feature["names"]]
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        pass  # no such metadata: numbers stay numbers
    return names


def named_classes(row: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row with the names of its classes in place of their numbers; a number below 0 is no class."""
    return row | {
        column: known[row[column]] if 0 <= row[column] < len(known) else None
        for column, known in names.items() if isinstance(row.get(column), int)
    }


def split_of_words(path: str) -> str:
    """The split that a word of a path says, as `datasets` calls it; "" if none does."""
    said = {SPLITS.get(word) for word in _WORDS.split(path.lower())}
    return next((name for name, split in NAMES.items() if split in said), "")


def _in_card(header: Mapping[str, Any]) -> dict[str, list[str]]:
    info = header.get("dataset_info")
    names: dict[str, list[str]] = {}
    for one in info if isinstance(info, list) else [info]:
        features = one.get("features") if isinstance(one, Mapping) else None
        for feature in features if isinstance(features, list) else []:
            kind = feature.get("dtype") if isinstance(feature, Mapping) else None
            label = kind.get("class_label") if isinstance(kind, Mapping) else None
            known = label.get("names") if isinstance(label, Mapping) else None
            if isinstance(known, Mapping):
                names[str(feature.get("name"))] = [str(known[key]) for key in sorted(known, key=_order)]
            elif isinstance(known, list):
                names[str(feature.get("name"))] = [str(name) for name in known]
    return names


def _order(key: object) -> tuple[int, str]:
    return (int(str(key)), "") if str(key).isdecimal() else (1 << 62, str(key))


def _paths(file: pq.ParquetFile, group: int, image: str) -> list[str | None]:
    """For each row of a group None if its image has bytes, else the path that it names, "" for neither."""
    if _all_bytes(file, group, image):
        return [None] * file.metadata.row_group(group).num_rows
    column = file.read_row_group(group, [image], use_threads=False).column(image)
    if pa.types.is_string(column.type):
        return [value or "" for value in column.to_pylist()]
    found: list[str | None] = []
    for cell in column:
        held = cell["bytes"] if pa.types.is_struct(column.type) and cell.is_valid and "bytes" in cell else cell
        path = cell["path"].as_py() if held is not cell and "path" in cell else ""
        found.append(None if held.is_valid and not pa.types.is_struct(held.type) else path or "")
    return found


def _all_bytes(file: pq.ParquetFile, group: int, image: str) -> bool:
    """Whether the statistics of a group say that every image has bytes."""
    chunks = file.metadata.row_group(group)
    for number in range(chunks.num_columns):
        chunk = chunks.column(number)
        if chunk.path_in_schema == f"{image}.bytes":
            return chunk.statistics is not None and chunk.statistics.null_count == 0
    return False


@contextmanager
def _readable(path: Path, place: str) -> Iterator[pq.ParquetFile]:
    """An open Parquet file, whose errors are one line.

    Raises:
        InputError: It is damaged.
        RunError: There is no memory or no file handle left.
    """
    try:
        with open_file(path) as handle, pq.ParquetFile(handle) as file:
            yield file
    except (InputError, RunError):
        raise
    except (pa.ArrowException, OSError, MemoryError, ValueError, KeyError) as error:
        if is_shortage(error):
            raise RunError(f"{place} cannot be read: {one_line(error)}; free some and run the same command again"
                           ) from error
        pointer = path.stat().st_size < 1024 and path.read_bytes().startswith(b"version https://git-lfs")
        raise InputError(f"{place} is no Parquet file that can be read "
                         + ("(a pointer of Git LFS; run git lfs pull)" if pointer else f"({one_line(error, 80)})")
                         ) from error


@lru_cache(maxsize=2)
def _group(path: Path, stamp: Stamp, column: str, group: int) -> pa.ChunkedArray:
    with open_file(path) as handle:
        stamp.check(handle)
        try:
            with pq.ParquetFile(handle) as file:
                return file.read_row_group(group, [column], use_threads=False).column(column)
        except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
            if is_shortage(error):
                raise RunError(f"{path.name} cannot be read: {one_line(error)}") from error
            raise ImageError(f"its Parquet file cannot be read ({one_line(error, 80)})") from error
