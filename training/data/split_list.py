"""A list of splits beside a data YAML: for data that has none of its own, without touching the data."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from terrasynth.training.data.pairs import Pair, Skipped
from terrasynth.training.data.rows import split_of
from terrasynth.training.data.text_files import csv_rows
from terrasynth.training.errors import InputError

COLUMNS = ("name", "split")


def with_listed_splits(pairs: Sequence[Pair], path: Path, skipped: list[Skipped], notes: list[str]) -> list[Pair]:
    """The pairs with the splits of a list; one that it does not name is left out.

    Args:
        path: The CSV file.
        skipped: Receives what is left out.
        notes: Receives a sentence if the list names images that are not in the data.

    Raises:
        InputError: The list is not as it should be, or names none of the images.
    """
    listed: dict[str, str] = {}
    for where, row in csv_rows(path, path.name):
        if missing := [column for column in COLUMNS if not row.get(column)]:
            raise InputError(f"{where}: the column {missing[0]!r} is missing or empty; a row is NAME,SPLIT")
        if row["name"] in listed:
            raise InputError(f"{where}: {row['name']!r:.80} is listed twice; keep one row")
        listed[row["name"]] = split_of(row["split"], "", {}, where) or ""
    found = [replace(pair, split=listed[pair.name]) for pair in pairs if pair.name in listed]
    if not found:
        raise InputError(f"{path.name} names none of the {len(pairs)} images, such as {pairs[0].name!r:.80}; let "
                         "`terrasynth init` write it again")
    skipped += [Skipped(pair.name, f"{path.name} says no split of it") for pair in pairs if pair.name not in listed]
    if gone := sorted(listed.keys() - {pair.name for pair in pairs}):
        notes.append(f"{path.name} names {len(gone)} images that cannot be used or are not there, such as {gone[0]}")
    return found


def split_list(splits: Mapping[str, str]) -> str:
    r"""The text of a list.

    Args:
        splits: Name of an image -> its split.

    Example:
        >>> from terrasynth.training.data.split_list import split_list
        >>> split_list({"a, b.png": "train", "c.png": "val"})
        'name,split\n"a, b.png",train\nc.png,val\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(splits.items())
    return text.getvalue()
