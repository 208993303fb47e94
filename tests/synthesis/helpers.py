"""Reading back what a run wrote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from terrasynth.synthesis.generators.base import GeneratorSource
from terrasynth.synthesis.generators.finding import find_generator
from terrasynth.synthesis.recipe import GeneratorSettings


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


def exchange(one: Path, other: Path) -> None:
    """Let two files, or two folders, lie in each other's place."""
    beside = one.with_name("exchanged")
    one.rename(beside)
    other.rename(one)
    beside.rename(other)


def resealed(path: Path, changes: dict) -> None:
    """Change a record and give it the hash of what it then says."""
    from terrasynth.synthesis.core.records import SEAL, write_record

    content = json.loads(path.read_text())
    content.pop(SEAL, None)
    write_record(path, content | changes)


def as_of_an_earlier_version(run: Path) -> None:
    """Make of a run what a version left that kept no hashes, and said nothing of the machine that drew."""
    from terrasynth.synthesis.ledger.block_files import DRAWN
    from terrasynth.synthesis.ledger.blocks import SCHEMA, WRITTEN

    for path in (run / "blocks").glob("*/*.parquet"):
        table = pq.ParquetFile(path).read()
        metadata = {key: value for key, value in table.schema.metadata.items() if key != DRAWN}
        # by the schema that is written by: the one that was read numbers its fields, which would be written, too
        pq.write_table(table.cast(SCHEMA.with_metadata(metadata)), path, **WRITTEN)
    runtime = json.loads((run / "runtime.json").read_text())
    old = {key: runtime[key] for key in ("device", "dtype", "micro_batch", "threads", "torch", "attention", "compile",
                                         "offload", "vae_slicing", "arithmetic")} | {"arithmetic": 2}
    (run / "runtime.json").write_text(json.dumps(old | {"measured": {"float32": 0.01, "bfloat16": 0.6}}, indent=2))
    frozen = json.loads((run / "identity.json").read_text())
    del frozen["sha256"]
    (run / "identity.json").write_text(json.dumps(frozen, indent=2))
    finished = json.loads((run / "finished.json").read_text())
    del finished["sha256"]
    (run / "finished.json").write_text(json.dumps(finished, indent=1))


def find(reference: str, **settings: Any) -> GeneratorSource:
    """The files of a generator, with settings as a recipe has them."""
    return find_generator(GeneratorSettings.of(reference, **settings))
