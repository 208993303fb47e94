"""Reading prompts and captions from JSON Lines, CSV and text, with errors that name file and line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from terrasynth.prompts.errors import InputError

FORMATS = {".jsonl": "JSON Lines", ".csv": "CSV with a header", ".txt": "text", ".tsv": "text with tabs"}
LARGEST_FILE = 256 * 2**20  # bytes of a file of prompts or captions, which is read as a whole
LONGEST_TEXT = 10_000  # signs of a text or caption
LONGEST_LABEL = 200  # bytes in UTF-8 of a label, which becomes a folder's and a file's name
LABEL_RULE = ("must be text without slashes and control characters, not start with a dot, and have at most "
              f"{LONGEST_LABEL} bytes")
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]|^\.|^$")


def fail(path: Path, line: int, problem: str) -> NoReturn:
    """Raise an `InputError` that starts with file name and line."""
    raise InputError(f"{path.name}:{line}: {problem}")


def existing(path: object, expander: str) -> Path:
    """The path as a `Path`, if it is a readable kind of file.

    Raises:
        InputError: It is not text, does not exist, is a folder, or its suffix is none of `FORMATS`.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise InputError(f"path {path!r} of the {expander} expander is no file name; give one as text")
    file = Path(path)
    if not file.exists():
        raise InputError(f"file {str(path)!r} of the {expander} expander does not exist; check its path")
    if not file.is_file():
        raise InputError(f"{str(path)!r} of the {expander} expander is not a file; give a file inside it")
    if file.suffix.lower() not in FORMATS:
        known = ", ".join(f"{suffix} ({kind})" for suffix, kind in FORMATS.items())
        raise InputError(f"file {str(path)!r} has the suffix {file.suffix!r}, which is none of {known}; rename it")
    return file


def records(path: Path, default_label: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and fields of each row; empty lines and, in text, lines that start with # are left out.

    Text has a label, a tab and the text on each line, or the text alone where there is a default label: those become
    the fields `label` and `text`.

    Raises:
        InputError: The file cannot be read or is not UTF-8, or a line is not of the format.
    """
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise InputError(f"file {str(path)!r} has {size:,} bytes and {LARGEST_FILE:,} are the most; split it")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        fail(path, error.object[: error.start].count(b"\n") + 1, "not UTF-8; save the file as UTF-8")
    except OSError as error:
        raise InputError(f"file {str(path)!r} cannot be read ({error.strerror}); check its permissions") from error
    if path.suffix.lower() == ".jsonl":
        yield from _json_lines(path, text)
    elif path.suffix.lower() == ".csv":
        yield from _csv(path, text)
    else:
        yield from _text(path, text, default_label)


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row = parse_json(path, number, "line", line)
        if not isinstance(row, dict):
            fail(path, number, f"a JSON {type(row).__name__}, not an object; write {{\"label\": ..., \"text\": ...}}")
        yield number, row


def _csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header) or "text" not in header:
            fail(path, 1, f"the header {','.join(header)!r} needs a column text, and no column twice")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                fail(path, reader.line_num, f"{len(row)} values under {len(header)} columns; quote texts with commas")
            yield reader.line_num, {name: value for name, value in zip(header, row, strict=True) if value.strip()}
    except csv.Error as error:
        fail(path, reader.line_num, f"not CSV ({error}); check the quotes")


def _text(path: Path, text: str, default_label: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        label, tab, rest = line.partition("\t")
        if tab:
            yield number, {"label": label, "text": rest}
        elif default_label is not None:
            yield number, {"text": line}
        else:
            fail(path, number, "no class; write CLASS, a tab and the text, or set the option label")


def parse_json(path: Path, line: int, field: str, text: str) -> object:
    """A JSON value that can be written again as JSON in UTF-8, which rules out NaN and lone surrogates."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        fail(path, line, f"{field} is not JSON ({error.msg} at column {error.colno}); check quotes and brackets")
    except (ValueError, RecursionError) as error:
        fail(path, line, f"{field} has a value that JSON in UTF-8 cannot hold ({error}); correct it")
    return value


def is_label(value: object) -> bool:
    """Whether a value is text that can also name a folder."""
    if not isinstance(value, str) or _UNSAFE.search(value) or value != value.strip():
        return False
    return len(value.encode("utf-8", "surrogatepass")) <= LONGEST_LABEL


def label_of(path: Path, line: int, value: object) -> str:
    """A label, white space trimmed, that can also name a folder."""
    label = value.strip() if isinstance(value, str) else value
    if not isinstance(label, str) or not is_label(label):
        fail(path, line, f"label {value!r:.120} {LABEL_RULE}")
    return label


def text_of(path: Path, line: int, field: str, value: object) -> str:
    """A text that is not empty, with single blanks between its words."""
    if not isinstance(value, str) or not value.split():
        fail(path, line, f"{field} {value!r:.120} must be text that is not empty")
    text = " ".join(value.split())
    if len(text) > LONGEST_TEXT:
        fail(path, line, f"{field} has {len(text):,} signs and {LONGEST_TEXT:,} are the most: {text[:60]!r}...")
    return text
