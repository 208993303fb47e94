"""Captions as JSON: Karpathy-style (RSICD, UCM, Sydney, LEVIR-CC, our export) and the layout of NWPU-Captions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from terrasynth.training.data.class_names import classes_of_files
from terrasynth.training.data.images import FileImage
from terrasynth.training.data.pairs import Opener
from terrasynth.training.data.places import IMAGE_FOLDERS, Root
from terrasynth.training.data.rows import LABEL, Row, file_of, folder_split, pick, text_of
from terrasynth.training.data.settings import Source
from terrasynth.training.data.text_files import parse_json, read_text
from terrasynth.training.errors import InputError

FOLDERS = ("", *IMAGE_FOLDERS)
CLASS_LISTS = re.compile(r"(.*/)?txtclasses[^/]*/[^/]+\.txt")
EARLIER, LATER = "A", "B"  # folders of LEVIR-CC
_NWPU_TEXT = re.compile(r"raw(_\d+)?")


def captions_json(path: Path, name: str) -> object:
    """The content of a JSON file if it has one of the two shapes, else None.

    Raises:
        InputError: It is not JSON.
    """
    content = parse_json(read_text(path, name), name)
    return content if _is_karpathy(content) or _is_nwpu(content) else None


def read_captions_json(root: Root, file: str, content: object, source: Source, notes: list[str]) -> Iterator[Row]:
    """The rows of a JSON file.

    Args:
        root: The folder that the file lies in.
        notes: Receives what a user should know.

    Raises:
        InputError: A row is not as it should be.
    """
    if isinstance(content, Mapping) and not _is_karpathy(content):
        yield from _nwpu(root, file, content, source)
    elif isinstance(content, Mapping):
        yield from _karpathy(root, file, content["images"], source, notes)


def _is_karpathy(content: object) -> bool:
    return (isinstance(content, Mapping) and isinstance(content.get("images"), Sequence | Mapping | str)
            and not isinstance(content.get("annotations"), list))  # that is COCO


def _is_nwpu(content: object) -> bool:
    return isinstance(content, Mapping) and bool(content) and all(
        isinstance(rows, list) and bool(rows) and isinstance(rows[0], Mapping) and "raw" in rows[0]
        for rows in content.values())


def _objects(rows: object, where: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with its place.

    Raises:
        InputError: It is no list of objects.
    """
    if not isinstance(rows, list):
        raise InputError(f"{where} is {rows!r:.40}; a list of objects is needed")
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(f"{where}[{number}]: {row!r:.40} is not a JSON object")
    return [(f"{where}[{number}]", row) for number, row in enumerate(rows)]


def _karpathy(root: Root, file: str, images: object, source: Source, notes: list[str]) -> Iterator[Row]:
    rows = _objects(images, f"{file}: images")
    names = [file_of(row, "filename", where) for where, row in rows]
    listed = _class_lists(root)
    said, unknown = classes_of_files(names)
    changes = 0
    for (where, row), name, by_name in zip(rows, names, said, strict=True):
        if "sentences" not in row and "captions" not in source.columns:
            raise InputError(f"{where}: the key 'sentences' is missing; it has {', '.join(row)}")
        captions = pick(row, source.columns, "captions", ("sentences",), where)
        below = text_of(row["filepath"], "filepath", where) if row.get("filepath") else ""
        path, before = _find(root, source, below, name, where)
        changes += before is not None
        label = pick(row, source.columns, "label", LABEL, where)
        if label is None and "label" not in source.columns:
            label = listed.get(PurePosixPath(name).name) or by_name
        opener = None if path is None else FileImage(path, source.rule)
        yield Row(where, name, captions, label, row.get("split"), folder_split(PurePosixPath(below, name).parts[:-1]),
                  pick(row, source.columns, "gsd", ("gsd",), where), opener, before, str(path or ""))
    if changes:
        notes.append(f"the captions of {changes} rows in {file} tell of a change between two images; the later image "
                     "is taken")
    if unknown and not listed and not any(key in row for _, row in rows for key in LABEL):
        shown = ", ".join(unknown[:6]) + (", ..." if len(unknown) > 6 else "")
        notes.append(f"classes are what the file names in {file} begin with, such as {shown}")


def _find(root: Root, source: Source, below: str, name: str, where: str) -> tuple[Path | None, Opener | None]:
    """The image of a row, and what opens the earlier one where there are two."""
    for folder in FOLDERS:
        base = str(PurePosixPath(folder, below))
        if (found := root.find(name, where, base)) is not None:
            return found, None
        if (later := root.find(name, where, f"{base}/{LATER}")) is not None:
            earlier = root.find(name, where, f"{base}/{EARLIER}")
            return later, None if earlier is None else FileImage(earlier, source.rule)
    return None, None


def _class_lists(root: Root) -> dict[str, str]:
    """File name -> class of RSICD's lists: `txtclasses_rsicd/CLASS.txt` has a file name on each line."""
    classes: dict[str, str] = {}
    for place in root.walk():
        if CLASS_LISTS.fullmatch(place) is None:
            continue
        path = root.inside(root.folder / place, place)
        label = PurePosixPath(place).stem
        for number, line in enumerate(read_text(path, place).split("\n"), 1):
            name = line.strip().removeprefix("\ufeff")
            if name and classes.setdefault(name, label) != label:
                raise InputError(f"{place}:{number}: {name!r:.60} is of class {classes[name]!r} by another list; take "
                                 "one of them away")
    return classes


def _nwpu(root: Root, file: str, content: Mapping[str, Any], source: Source) -> Iterator[Row]:
    for label, listed in content.items():
        for where, row in _objects(listed, f"{file}: {label:.60}"):
            name = file_of(row, "filename", where)
            texts = sorted((key for key in row if _NWPU_TEXT.fullmatch(key)), key=lambda key: (len(key), key))
            found = None
            for folder in FOLDERS:
                for below in (label, ""):
                    found = found or root.find(name, where, str(PurePosixPath(folder, below)))
            yield Row(where, name, [row[key] for key in texts], label, row.get("split"), "", row.get("gsd"),
                      None if found is None else FileImage(found, source.rule), path=str(found or ""))
