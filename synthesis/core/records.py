"""The small JSON files that a run keeps of itself: each carries the hash of its content, and every reader checks it.

A hash is no protection against malice. It tells a record that was written by a run from one that a disk, a half-made
copy or an editor has changed since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terrasynth.synthesis.core.errors import RefusedError, RunError, one_line, refusal
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.identity import canonical

SEAL = "sha256"
LIMIT_BYTES = 64 * 2**20  # no record of a run is a hundredth as large


class RecordError(ValueError):
    """A record cannot be believed; the message says what is wrong with it, without its name."""


def write_record(path: Path, content: Mapping[str, Any], indent: int = 2) -> None:
    """Write a record with the hash of its content as its last entry.

    Args:
        content: JSON-able.
        indent: Blanks a level.
    """
    sealed = {**content, SEAL: _seal(content)}
    text = json.dumps(sealed, indent=indent, ensure_ascii=False) + "\n"
    write_file(path, text.encode("utf-8", "backslashreplace"))  # which is an escape of JSON, too


def read_record(path: Path) -> dict[str, Any]:
    """The content of a record, without its hash.

    A record without a hash is of an earlier version, which kept none.

    Raises:
        FileNotFoundError: It is not there.
        RecordError: Its content is not what was written, or is no JSON object.
        RefusedError: It may be whole and cannot be read.
    """
    content = read_object(path)
    sealed = content.pop(SEAL, None)
    if sealed is not None and sealed != _seal(content):
        raise RecordError("its content is not what was written, since its hash is another")
    return content


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file: UTF-8, no key twice, no NaN, not too deep and not too large.

    Raises:
        FileNotFoundError: It is not there.
        RecordError: The file holds something else.
        RefusedError: It may be whole and cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, MemoryError) as error:
        if why := refusal(error):
            raise RefusedError(f"{path} cannot be read: {why}") from error
        raise RecordError(f"cannot be read ({one_line(error, 120)})") from error
    if len(data) > LIMIT_BYTES:
        raise RecordError(f"is larger than {LIMIT_BYTES // 2**20} MiB")
    try:
        found = json.loads(data.decode(), object_pairs_hook=_distinct, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"is no JSON ({one_line(error, 120)})") from error
    if not isinstance(found, dict):
        raise RecordError("holds no JSON object")
    return found


def run_error(path: Path, error: RecordError, help_: str) -> RunError:
    """What to raise for a record that stops a run: its name, what is wrong, and what the user can do."""
    return RunError(f"{path} cannot be believed: {one_line(error, 200)}; {help_}")


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content).encode("utf-8", "surrogatepass")).hexdigest()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return found


def _finite(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
