"""Lists of image files: our `pairs.jsonl`, and the `metadata.jsonl`, `.csv` or `.parquet` of an imagefolder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from terrasynth.training.data.images import FileImage
from terrasynth.training.data.places import Root
from terrasynth.training.data.rows import CAPTIONS, LABEL, Row, file_of, folder_split, pick, text_of
from terrasynth.training.data.settings import Source
from terrasynth.training.data.text_files import csv_rows, json_lines

PAIRS = "pairs.jsonl"
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
FILE_KEYS = ("file_name", "file")


def read_list(root: Root, place: str, source: Source) -> Iterator[Row]:
    """The rows of one list.

    Args:
        root: The folder of the data set.
        place: The list, relative to it; images are relative to the list's own folder.

    Raises:
        InputError: The list or a row is not as it should be.
    """
    base = str(PurePosixPath(place).parent)
    for where, row in _cells(root, place):
        key = source.columns.get("image") or _file_key(place, row)
        name = file_of(row, key, where) if row.get(key) is not None or key not in row else text_of(None, key, where)
        found = root.find(name, where, base)
        below = root.relative(name.replace("\\", "/"), base).split("/")
        yield Row(where, name, pick(row, source.columns, "captions", CAPTIONS, where),
                  pick(row, source.columns, "label", LABEL, where), row.get("split"), folder_split(below[:-1]),
                  pick(row, source.columns, "gsd", ("gsd",), where),
                  None if found is None else FileImage(found, source.rule), path=str(found or ""))


def _file_key(place: str, row: Mapping[str, Any]) -> str:
    return "file" if place == PAIRS else next((key for key in FILE_KEYS if key in row), FILE_KEYS[0])


def _cells(root: Root, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    path = root.inside(root.folder / place, place)
    if place.endswith(".csv") or place.endswith(".tsv"):
        yield from csv_rows(path, place)
    elif place.endswith(".parquet"):
        from terrasynth.training.data.parquet import plain_rows

        yield from plain_rows(path, place)
    else:
        yield from json_lines(path, place)
