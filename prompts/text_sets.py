"""Texts with their classes from a file of prompts or captions, to be measured; nothing is done to their wording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.reading import existing, fail, label_of, parse_json, records, text_of


def read_texts(path: str | Path, split: str = "train", all_captions: bool = False) -> list[tuple[str, str]]:
    """Class ("" where none is named) and text of every prompt or caption in a file.

    A row with `text` is a prompt, and its text counts; a row with `captions` or `caption` alone is one of real
    captions, and all of them count. Any file that the expanders `file` and `captions` read can be read.

    Args:
        path: A `.jsonl`, `.csv` with header, or `.txt`/`.tsv` of `label<TAB>text`.
        split: Rows that have a field `split` count only if it is this one; "all" takes every row.
        all_captions: Of a prompt, take its captions (the first of which is its text) instead of the text alone.

    Raises:
        InputError: The file is missing or of another kind, a row is wrong, or no text is left.
    """
    file = existing(path, "file")
    found = []
    for line, row in records(file, None):
        if split not in ("all", row.get("split", split)):
            continue
        label = row.get("label", row.get("class", ""))
        label = label if label == "" else label_of(file, line, label)
        found += [(label, text) for text in _texts(file, line, row, all_captions)]
    if not found:
        raise InputError(f"file {str(path)!r} has no text of split {split!r}; give another file or split")
    return found


def _texts(file: Path, line: int, row: dict[str, Any], all_captions: bool) -> Iterator[str]:
    captions = row.get("captions", row.get("caption"))
    if isinstance(captions, str) and "captions" in row:
        captions = parse_json(file, line, "captions", captions)
    if "text" in row and not (all_captions and captions):
        captions = row["text"]
    if captions is None:
        fail(file, line, "no text; every row needs text, caption or captions")
    for caption in captions if isinstance(captions, list) else [captions]:
        yield text_of(file, line, "text", caption)
