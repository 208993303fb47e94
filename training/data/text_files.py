"""Text, JSON, CSV and YAML of foreign data, read strictly: what is wrong is named by file, line and value."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from terrasynth.synthesis.core import plain_yaml
from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.synthesis.core.plain_yaml import MOST_BYTES
from terrasynth.training.errors import InputError, is_shortage

# The longer marks first: UTF-32's begins with UTF-16's.
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
DELIMITERS = ",;\t"
LONGEST_CELL = 1 << 24  # characters; Python's own limit of 131,072 is below a list of captions as JSON text


def read_text(path: Path, name: str) -> str:
    r"""Text of a UTF-8 file, or of UTF-16 or UTF-32 with a byte order mark; without the mark, lines ended by "\n".

    Raises:
        InputError: The file cannot be read, or is no such text.
        RunError: There is no memory or no file handle left.
    """
    try:
        data = path.read_bytes()
    except (OSError, MemoryError) as error:
        if is_shortage(error):
            raise RunError(f"{name} cannot be read: {one_line(error)}; free some and run the same command again"
                           ) from error
        raise InputError(f"{name} cannot be read: {one_line(error)}") from error
    encoding = next((encoding for mark, encoding in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}:{line}: byte 0x{data[error.start]:02x} is not {encoding[:6].upper()}; save the file "
                         "as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str, where: str) -> Any:  # noqa: ANN401 - JSON can be anything
    """A JSON document in which no object has a key twice.

    Raises:
        InputError: It is none; `where` is the file, or file and line.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        line = f":{error.lineno}" if error.lineno > 1 else ""
        raise InputError(f"{where}{line}: not JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply to be data") from None
    except _Twice as error:
        raise InputError(f"{where}: the key {error.args[0]!r:.60} is given twice in one object; keep one") from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({one_line(error, 80)})") from None


def json_lines(path: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON-lines file, each with its "file:line".

    Raises:
        InputError: A line is not a JSON object.
    """
    for number, line in enumerate(read_text(path, name).split("\n"), 1):
        line = line.removeprefix("\ufeff")  # files with a mark that were joined
        if not line.strip():
            continue
        where = f"{name}:{number}"
        row = parse_json(line, where)
        if not isinstance(row, dict):
            raise InputError(f"{where}: {row!r:.40} is not a JSON object; one object a line is needed")
        yield where, row


def csv_rows(path: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a CSV file with a header, each with its "file:line"; separated by commas, semicolons or tabs.

    Raises:
        InputError: The header names a column twice, a row has more cells than the header, or a quote does not end.
    """
    text = read_text(path, name)
    head = text.partition("\n")[0]
    if head.startswith("sep=") and len(head) == 5:  # how Excel is told
        delimiter, skip = head[4], 1
        text = text.partition("\n")[2]
    else:
        delimiter, skip = max(DELIMITERS, key=head.count), 0
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if twice := sorted({cell for cell in header if header.count(cell) > 1}):
            raise InputError(f"{name}:{1 + skip}: the column {twice[0]!r:.60} is named twice; keep one")
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) > len(header):
                raise InputError(f"{name}:{line + skip}: {len(cells)} cells where the header has {len(header)}; quote "
                                 f"a text with {delimiter!r} in it")
            if any(cells):
                yield f"{name}:{line + skip}", dict(zip(header, cells, strict=False))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{name}:{line + skip}: not CSV ({one_line(error)})") from None


def parse_yaml(text: str, where: str) -> Any:  # noqa: ANN401 - YAML can be anything
    """A YAML document in which no mapping has a key twice.

    Raises:
        InputError: It is none, or too large or nested too deeply to be settings; `where` is the file.
    """
    if len(text) > MOST_BYTES:
        raise InputError(f"{where}: {len(text):,} characters of YAML; at most {MOST_BYTES:,} are read")
    try:
        return plain_yaml.parse_yaml(text, foreign=True)
    except plain_yaml.YamlError as error:
        line = "" if error.line is None else f":{error.line}"
        raise InputError(f"{where}{line}: not YAML ({error.what})") from None


def header_of(card: Path, name: str) -> Mapping[str, Any]:
    """The YAML header of a data set card; empty if there is no card or no header.

    Raises:
        InputError: The header is not a YAML mapping, or has a key twice.
    """
    if not card.is_file():
        return {}
    lines = read_text(card, name).split("\n")
    if lines[0].strip() != "---" or "---" not in (ends := [line.strip() for line in lines[1:]]):
        return {}
    header = parse_yaml("\n".join(["", *lines[1 : 1 + ends.index("---")]]), name)  # so that lines count from the file's
    if header is not None and not isinstance(header, dict):
        raise InputError(f"{name}: its header is {header!r:.40}; a YAML mapping is needed")
    return header or {}


class _Twice(ValueError):
    """A key that an object has twice."""


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Twice(key)
            seen.add(key)
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
