"""Files of the ledger as they lie: columns with their checksums, what else they say, and what damage is called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RefusedError, RunError, one_line, refusal
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.core.identity import digest

ENCODER, DRAWN, WITHHELD, SEAL = b"encoder", b"drawn", b"withheld", "sha256"
AGAIN = "it is moved to damaged/ and its attempts are drawn again exactly as they were"
UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError)


def read_file(path: Path, columns: Sequence[str] | None, help_: str) -> pa.Table:
    """Columns of a Parquet file, its page checksums verified; None for all.

    Raises:
        RunError: It is damaged; the message names it and ends with `help_`.
        RefusedError: It may be whole and cannot be read.
    """
    try:
        # read_table takes three times as long, and a small file that is read ahead half as long again
        source = readable(path)
        with ExitStack() as stack:
            local = stack.enter_context(pa.OSFile(str(source))) if isinstance(source, Path) else None
            file = stack.enter_context(pq.ParquetFile(local or source, page_checksum_verification=True,
                                                      pre_buffer=local is None))
            return file.read(columns=None if columns is None else list(columns), use_threads=False)
    except UNREADABLE as error:
        raise damaged(path, error, help_) from error


def metadata_of(path: Path, help_: str) -> Mapping[bytes, bytes]:
    """What a Parquet file says beside its columns; raises as `read_file` does."""
    try:
        return dict(pq.read_schema(readable(path)).metadata or {})
    except UNREADABLE as error:
        raise damaged(path, error, help_) from error


def drawn_of(path: Path) -> dict[str, Any] | None:
    """By what and how a block was drawn; None where a version wrote it that did not say.

    Raises:
        RunError: The file is damaged.
        RefusedError: It may be whole and cannot be read.
    """
    try:
        return drawn_in(metadata_of(path, AGAIN))
    except ValueError as error:
        raise damaged(path, error, AGAIN) from error


def drawn_in(metadata: Mapping[bytes, bytes]) -> dict[str, Any] | None:
    """What the metadata of a block say of how it was drawn, their own hash checked.

    Raises:
        ValueError: They are not what was written.
    """
    if DRAWN not in metadata:
        return None
    found = json.loads(metadata[DRAWN])
    sealed = found.pop(SEAL, None) if isinstance(found, dict) else None
    if (sealed is None or sealed != digest(found) or found.pop("encoder", None) != metadata.get(ENCODER, b"").decode()
            or found.pop("withheld", "") != metadata.get(WITHHELD, b"").decode()):
        raise ValueError("what it says of how it was drawn and measured is not what was written")
    return dict(found)


def drawn_by(root: Path) -> Iterator[dict[str, Any]]:
    """How the blocks of a run were drawn, of those that say it and can be read."""
    for path in layout.block_files(root):
        try:
            drawn = drawn_of(path)
        except RefusedError:
            raise
        except RunError:
            continue
        if drawn is not None:
            yield drawn


def damaged(path: Path, error: BaseException, help_: str) -> RunError:
    """What to raise where a file of the ledger could not be read."""
    return unreadable_file(path, error, f"; run again with --repair: {help_}")


def unreadable_file(path: Path, error: BaseException, then: str, name: str | None = None) -> RunError:
    """What to raise where a Parquet file could not be read.

    Args:
        then: What follows in the line where it is damaged, such as what helps.
        name: What the message calls it; None for its path.
    """
    if why := refusal(error, path.stat().st_size if path.is_file() else 0):
        return RefusedError(f"{name or path} cannot be read: {why}")
    return RunError(f"{name or path} cannot be read ({one_line(error, 120)}){then}")
