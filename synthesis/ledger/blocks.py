"""The ledger of a run: one file per block of attempts, written once, whole, and never touched again.

A block's file says everything about its attempts: image, prompt, seed, and what the run's first encoder measured.
Measurements by encoders that a later recipe names go beside it, under `scores/`. Every row carries its attempt's id,
and whoever reads a file compares the ids with those of its place: a file that lies where another belongs is named, not
used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.files import move, replacing
from terrasynth.synthesis.core.identity import Identity, canonical, digest
from terrasynth.synthesis.filters import Measurements
from terrasynth.synthesis.ledger.block_files import (
    AGAIN,
    DRAWN,
    ENCODER,
    SEAL,
    WITHHELD,
    damaged,
    drawn_in,
    metadata_of,
    read_file,
)

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
LAYOUT = "layout"  # the column of a run whose images were drawn by layouts; others have none
EDIT, IMAGE_AFTER, TEXT_AFTER = "edit", "image_after", "text_after"  # of a run of pairs
AFTER = "_after"  # ends the names of what was measured of images after
# Statistics would be whole images, outside what the checksums cover.
WRITTEN = {"compression": "zstd", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
WRITTEN_AT_ONCE = 2**22  # bytes of a table up to which its file is made in memory
SIDE_SCHEMA = pa.schema([("id", pa.string()), *_MEASURED])
_MEASURED_AFTER = [pa.field(name + AFTER, kind) for name, kind in _MEASURED]
BEYOND_COSINE = 1.001  # rounding leaves a cosine a little above 1


@dataclass(frozen=True)
class Attempt:
    """One attempt, drawn.

    Attributes:
        id: 16 hexadecimal digits, `Identity.attempt`.
        k: Its place in the stream of its class, from 0.
        image: The stored bytes of the image.
        captions: Ways to say the same scene, `text` included.
        seed: Seed of the noise.
        scene: JSON object, "{}" when unknown.
        layout: JSON of the layout that the model was shown; "" where it was shown none.
        edit: JSON of what is done to it, of a pair; "" of a single image.
        image_after: The stored bytes of the image after, of a pair.
        text_after: What that was drawn from, by the same seed.
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
    layout: str = ""
    edit: str = ""
    image_after: bytes = b""
    text_after: str = ""


def schema_of(identity: Identity | None) -> pa.Schema:
    """The columns of the blocks of a run; without its identity, those that all runs have."""
    if identity is None or not identity.has_layouts:
        return SCHEMA
    placed = SCHEMA.append(pa.field(LAYOUT, pa.string()))
    if not identity.has_pairs:
        return placed
    image = SCHEMA.field("image").with_name(IMAGE_AFTER)
    return pa.schema([*placed, (EDIT, pa.string()), image, (TEXT_AFTER, pa.string()), *_MEASURED_AFTER])


def side_schema_of(identity: Identity | None) -> pa.Schema:
    """The columns of the files of scores of a run; without its identity, those that all runs have."""
    pairs = identity is not None and identity.has_pairs
    return pa.schema([*SIDE_SCHEMA, *_MEASURED_AFTER]) if pairs else SIDE_SCHEMA


def after_name(id_: str, image_format: str) -> str:
    """What the image after of a pair is called."""
    return f"{id_}-after.{image_format}"


class Blocks:
    """The blocks of one run directory."""

    def __init__(
        self, root: Path, block_size: int, image_format: str, identity: Identity | None = None, writer: str = "",
        is_ahead: bool = False,
    ) -> None:
        """Open the ledger of a run.

        Args:
            identity: Of the run, which says what ids belong where; None to take files as they lie.
            writer: Tells this process from others that may write the same file at once; "" where there are none.
            is_ahead: Others may write the same block, too, and one that is damaged is written anew.
        """
        self._is_ahead = is_ahead
        self.root = root
        self.block_size = block_size
        self.image_format = image_format
        self.writer = writer
        self._identity = identity
        self._settled: dict[str, bytearray] = {}

    @property
    def identity(self) -> Identity | None:
        """That of the run; None where files are taken as they lie."""
        return self._identity

    @property
    def schema(self) -> pa.Schema:
        """The columns of a block."""
        return schema_of(self._identity)

    @property
    def has_pairs(self) -> bool:
        """Whether each attempt is a pair of images."""
        return self._identity is not None and self._identity.has_pairs

    def path(self, label: str, index: int) -> Path:
        """Where block `index` (from 0) of a class lives."""
        return layout.block_file(self.root, label, index)

    def exists(self, label: str, index: int) -> bool:
        """Whether the block was drawn; the file's existence is the only record of that."""
        return self.path(label, index).is_file()

    def any(self) -> bool:
        """Whether anything was drawn."""
        return layout.first_block(self.root) is not None

    def first(self) -> Path | None:
        """The file of one block, always the same of the same blocks; None where nothing was drawn."""
        return layout.first_block(self.root)

    def write(
        self, label: str, index: int, attempts: Sequence[Attempt], encoder: str | None, measured: Measurements | None,
        withheld: Sequence[int] = (), drawn: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a block.

        Args:
            index: Place of the block in its class.
            attempts: `block_size` attempts in order of k.
            encoder: Key of the encoder that measured them.
            measured: Its measurements, or None when the recipe has no filter that measures.
            withheld: Rows whose images the model's safety checker made black.
            drawn: By what and how they were drawn, `Runtime.drawn`; None where nobody knows.
        """
        path = self.path(label, index)
        columns: dict[str, Any] = {
            name: [getattr(attempt, name) for attempt in attempts]
            for name in ("id", "k", "label", "text", "captions", "seed", "prompt_source", "scene")
        }
        columns["image"] = [
            {"bytes": attempt.image, "path": f"{attempt.id}.{self.image_format}"} for attempt in attempts
        ]
        columns |= self._measured_columns(measured, len(attempts))
        if LAYOUT in self.schema.names:
            columns[LAYOUT] = [attempt.layout for attempt in attempts]
        if self.has_pairs:
            columns |= {name: [getattr(attempt, name) for attempt in attempts] for name in (EDIT, TEXT_AFTER)}
            columns[IMAGE_AFTER] = [{"bytes": each.image_after, "path": after_name(each.id, self.image_format)}
                                    for each in attempts]
        metadata = {ENCODER: encoder or ""}
        if withheld:
            metadata[WITHHELD] = ",".join(map(str, withheld))
        if drawn is not None:
            said = {"encoder": encoder or "", **({"withheld": metadata[WITHHELD]} if withheld else {}), **drawn}
            metadata[DRAWN] = canonical({**said, SEAL: digest(said)})
        schema = self.schema.with_metadata(metadata)
        self._write(path, pa.table(columns, schema=schema), once=not self._is_ahead)

    def note_settled(self, label: str, index: int) -> None:
        """Note, in this process, that captions and scenes of a block that it wrote stay as they are if cut again."""
        known = self._settled.setdefault(label, bytearray())
        known.extend(bytes(max(0, index + 1 - len(known))))
        known[index] = 1

    def is_settled(self, label: str, index: int) -> bool:
        """Whether that was noted."""
        return self._settled.get(label, b"")[index : index + 1] == b"\1"

    def read(self, label: str, index: int, columns: Sequence[str]) -> pa.Table:
        """Columns of a block.

        Raises:
            RunError: The file is truncated or damaged, or holds other attempts than its place; the message names it.
            RefusedError: It may be whole and cannot be read.
        """
        path = self.path(label, index)
        table = read_file(path, list(dict.fromkeys(["id", *columns])), AGAIN)
        self._check_ids(path, label, index, table, AGAIN)
        return table.select(list(columns))

    def withheld(self, label: str, index: int) -> tuple[int, ...]:
        """The rows of a block whose images the model's safety checker made black.

        Raises:
            RunError: The file is damaged.
            RefusedError: It may be whole and cannot be read.
        """
        path = self.path(label, index)
        return self.withheld_in(path, metadata_of(path, AGAIN))

    def withheld_in(self, path: Path, metadata: Mapping[bytes, bytes]) -> tuple[int, ...]:
        """As `withheld`, from the metadata of the block of that path, or of a table that was read from it."""
        try:
            drawn_in(metadata)
            noted = metadata.get(WITHHELD, b"").decode()
            rows = tuple(int(row) for row in noted.split(",") if row)
            if any(not 0 <= row < self.block_size for row in rows):
                raise ValueError(f"it withholds rows {noted[:40]}")
        except ValueError as error:
            raise damaged(path, error, AGAIN) from error
        return rows

    def measurements(
        self, label: str, index: int, encoder: str, kind: str, reads_text: bool = False
    ) -> Measurements | None:
        """What an encoder measured, or None when it has not seen this block.

        Args:
            index: Place of the block in its class.
            encoder: Key of the encoder.
            kind: What its numbers are, which the file does not say.
            reads_text: Whether it measures the alignment with the texts; that column is NaN where it does not.

        Raises:
            RunError: Its file is damaged, or holds measurements of other attempts.
            RefusedError: It may be whole and cannot be read.
        """
        side = self._side(label, index, encoder)
        for path, help_ in ((self.path(label, index), AGAIN), (side, "its images are measured again")):
            if path.is_file() and metadata_of(path, help_).get(ENCODER, b"").decode(errors="replace") == encoder:
                after = [name + AFTER for name, _ in _MEASURED] if self.has_pairs else []
                table = read_file(path, ["id", "scores", "embedding", *after], help_)
                self._check_ids(path, label, index, table, help_)
                found = _measured(path, table, help_, kind, reads_text)
                later = _measured(path, table, help_, kind, reads_text, AFTER) if after else None
                return replace(found, after=later) if later else found
        return None

    def write_measurements(
        self, label: str, index: int, encoder: str, measured: Measurements, ids: Sequence[str]
    ) -> None:
        """Keep what an encoder measured later, beside the block, with the ids of the attempts."""
        columns = {"id": ids, **self._measured_columns(measured, len(ids))}
        schema = side_schema_of(self._identity).with_metadata({ENCODER: encoder})
        self._write(self._side(label, index, encoder), pa.table(columns, schema=schema))

    def ahead(self) -> Blocks:
        """The blocks that were made before it was known that they are needed."""
        return Blocks(layout.ahead(self.root), self.block_size, self.image_format, self._identity, self.writer,
                      is_ahead=True)

    def take(self, label: str, index: int) -> bool:
        """Move a block that was made ahead to its place, with what was measured of it; whether there was one.

        Raises:
            RunError: The disk is full.
        """
        ahead = self.ahead()
        if not ahead.exists(label, index):
            return False
        for scores in layout.scores_of_block(ahead.root, label, index):
            move(scores, layout.scores_file(self.root, layout.encoder_of(scores), label, index))
        move(ahead.path(label, index), self.path(label, index))  # last: where it lies, it is whole
        return True

    def _measured_columns(self, measured: Measurements | None, rows: int) -> dict[str, Any]:
        found = _measured_columns(measured, rows)
        if self.has_pairs:
            after = _measured_columns(None if measured is None else measured.after, rows)
            found |= {name + AFTER: values for name, values in after.items()}
        return found

    def _write(self, path: Path, table: pa.Table, once: bool = False) -> None:
        with replacing(path, self.writer, once) as file:
            if table.nbytes > WRITTEN_AT_ONCE:
                pq.write_table(table, file, **WRITTEN)
            else:  # in half the time, as the library writes some fifty small pieces
                sink = pa.BufferOutputStream()
                pq.write_table(table, sink, **WRITTEN)
                file.write(sink.getvalue())

    def _check_ids(self, path: Path, label: str, index: int, table: pa.Table, help_: str) -> None:
        if self._identity is None:
            return
        start = index * self.block_size
        wanted = [self._identity.attempt(label, k)[0] for k in range(start, start + self.block_size)]
        if table.column("id").to_pylist() != wanted:
            raise RunError(f"{path} holds other attempts than its place in this run; run again with --repair: {help_}")

    def _side(self, label: str, index: int, encoder: str) -> Path:
        return layout.scores_file(self.root, encoder, label, index)


def _measured_columns(measured: Measurements | None, rows: int) -> dict[str, Any]:
    if measured is None:
        return {"scores": [{"alignment": None}] * rows, "embedding": [None] * rows}
    alignment = np.full(rows, np.nan, np.float32) if measured.alignment is None else measured.alignment
    return {
        "scores": [{"alignment": float(value)} for value in alignment],
        "embedding": list(measured.numbers.astype(np.float32)),
    }


def _measured(
    path: Path, table: pa.Table, help_: str, kind: str, reads_text: bool, ending: str = ""
) -> Measurements:
    """The measurements in a table, as numbers that a model can have given; the names of their columns end so."""
    try:
        alignment = table.column("scores" + ending).combine_chunks().field("alignment").to_numpy(zero_copy_only=False)
        flat = table.column("embedding" + ending).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        numbers = flat.astype(np.float32).reshape(len(table), -1)
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise damaged(path, error, help_) from error
    if np.isinf(numbers).any() or (np.abs(alignment) > BEYOND_COSINE).any():
        raise damaged(path, ValueError("it holds numbers that nothing measures"), help_)
    return Measurements(kind, numbers, alignment.astype(np.float32) if reads_text else None)
