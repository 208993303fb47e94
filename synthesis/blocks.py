"""The ledger of a run: one file per block of attempts, written once, whole, and never touched again.

A block's file says everything about its attempts: picture, prompt, seed, and what the run's first encoder measured.
Measurements by encoders that a later recipe names go beside it, under `scores/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthesis.errors import RunError, one_line
from synthesis.files import replacing
from synthesis.filters import Measurements

_MEASURED = [("scores", pa.struct([("alignment", pa.float32())])), ("embedding", pa.list_(pa.float32()))]
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("k", pa.int64()),
        ("label", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("text", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("seed", pa.int64()),
        ("prompt_source", pa.string()),
        ("scene", pa.string()),
        *_MEASURED,
    ]
)
# Statistics would be whole pictures, outside what the checksums cover.
WRITTEN = {"compression": "zstd", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
SIDE_SCHEMA = pa.schema([("id", pa.string()), *_MEASURED])


@dataclass(frozen=True)
class Attempt:
    """One attempt, drawn.

    Attributes:
        id: 16 hexadecimal digits, `Identity.attempt`.
        k: Its place in the stream of its class, from 0.
        label: Its class.
        image: The stored bytes of the picture.
        text: What the generator was given.
        captions: Ways to say the same scene, `text` included.
        seed: Seed of the noise.
        prompt_source: Name of the expander.
        scene: JSON object, "{}" when unknown.
    """

    id: str
    k: int
    label: str
    image: bytes
    text: str
    captions: tuple[str, ...]
    seed: int
    prompt_source: str
    scene: str


class Blocks:
    """The blocks of one run directory.

    Attributes:
        root: The run directory.
        block_size: Attempts of one block.
        image_format: How the pictures are encoded.
    """

    def __init__(self, root: Path, block_size: int, image_format: str) -> None:
        self.root = root
        self.block_size = block_size
        self.image_format = image_format

    def path(self, label: str, index: int) -> Path:
        """Where block `index` (from 0) of a class lives."""
        return self.root / "blocks" / label / f"{index:05d}.parquet"

    def exists(self, label: str, index: int) -> bool:
        """Whether the block was drawn; the file's existence is the only record of that."""
        return self.path(label, index).is_file()

    def any(self) -> bool:
        """Whether anything was drawn."""
        return next((self.root / "blocks").glob("*/*.parquet"), None) is not None

    def write(
        self, label: str, index: int, attempts: Sequence[Attempt], encoder: str | None, measured: Measurements | None
    ) -> None:
        """Write a block.

        Args:
            label: Class of every attempt.
            index: Place of the block in its class.
            attempts: `block_size` attempts in order of k.
            encoder: Key of the encoder that measured them.
            measured: Its measurements, or None when the recipe has no filter that measures.
        """
        path = self.path(label, index)
        columns: dict[str, Any] = {
            name: [getattr(attempt, name) for attempt in attempts]
            for name in ("id", "k", "label", "text", "captions", "seed", "prompt_source", "scene")
        }
        columns["image"] = [
            {"bytes": attempt.image, "path": f"{attempt.id}.{self.image_format}"} for attempt in attempts
        ]
        columns |= _measured_columns(measured, len(attempts))
        _write(path, pa.table(columns, schema=_tagged(SCHEMA, encoder)))

    def read(self, label: str, index: int, columns: Sequence[str]) -> pa.Table:
        """Columns of a block.

        Raises:
            RunError: The file is truncated or damaged; the message names it.
        """
        return _read(self.path(label, index), columns)

    def pictures(self, label: str, index: int) -> list[bytes]:
        """The stored bytes of a block's pictures, in order of k."""
        column = self.read(label, index, ["image"]).column("image")
        return [value["bytes"] for value in column.to_pylist()]

    def measurements(self, label: str, index: int, encoder: str) -> Measurements | None:
        """What an encoder measured, or None when it has not seen this block."""
        for path in (self.path(label, index), self._side(label, index, encoder)):
            if path.is_file() and _encoder_of(path) == encoder:
                table = _read(path, ["scores", "embedding"])
                alignment = table.column("scores").combine_chunks().field("alignment").to_numpy(zero_copy_only=False)
                embeddings = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
                return Measurements(alignment.astype(np.float32), embeddings.reshape(len(table), -1))
        return None

    def write_measurements(self, label: str, index: int, encoder: str, measured: Measurements) -> None:
        """Keep what an encoder measured later, beside the block."""
        ids = self.read(label, index, ["id"]).column("id")
        columns = {"id": ids, **_measured_columns(measured, len(ids))}
        _write(self._side(label, index, encoder), pa.table(columns, schema=_tagged(SIDE_SCHEMA, encoder)))

    def check(self, label: str, index: int, ids: Iterable[str]) -> None:
        """Check that a block holds the attempts it should.

        Raises:
            RunError: The file is damaged, or holds other attempts.
        """
        if self.read(label, index, ["id"]).column("id").to_pylist() != list(ids):
            raise RunError(
                f"{self.path(label, index)} holds other attempts than its place in this run; "
                "run again with --repair: its attempts are drawn again exactly as they were"
            )

    def _side(self, label: str, index: int, encoder: str) -> Path:
        return self.root / "scores" / encoder / label / f"{index:05d}.parquet"


def _measured_columns(measured: Measurements | None, rows: int) -> dict[str, Any]:
    if measured is None:
        return {"scores": [{"alignment": None}] * rows, "embedding": [None] * rows}
    return {
        "scores": [{"alignment": float(value)} for value in measured.alignment],
        "embedding": list(measured.embeddings.astype(np.float32)),
    }


def _tagged(schema: pa.Schema, encoder: str | None) -> pa.Schema:
    return schema.with_metadata({"encoder": encoder or ""})


def _write(path: Path, table: pa.Table) -> None:
    with replacing(path) as file:
        pq.write_table(table, file, **WRITTEN)


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:  # read_table takes three times as long
            return file.read(columns=list(columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _encoder_of(path: Path) -> str:
    try:
        return str((pq.read_schema(path).metadata or {}).get(b"encoder", b"").decode())
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(
        f"{path} cannot be read ({one_line(error)[:120]}); run again with --repair: "
        "it is moved to damaged/ and its attempts are drawn again exactly as they were"
    )
