"""Reading back what a run wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash of every file by its relative name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(run: Path) -> list[dict]:
    """The rows of the data set, in order."""
    return [row for shard in sorted((run / "data").glob("*.parquet")) for row in pq.read_table(shard).to_pylist()]


def decisions(run: Path) -> list[dict]:
    """One row an attempt."""
    return pq.read_table(run / "decisions.parquet").to_pylist()


def times(folder: Path) -> dict[Path, int]:
    """When each file was written."""
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.parquet"))}
