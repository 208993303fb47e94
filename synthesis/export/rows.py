"""The rows that an export copies: those of a finished run, read as a stream."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import NEEDED, what_holds
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.files import readable, sha256
from terrasynth.synthesis.export.reviewed import BASIS, CAPTION, DRAWN_TEXT, PROMPT, as_drawn, as_reviewed
from terrasynth.synthesis.ledger.block_files import UNREADABLE, unreadable_file
from terrasynth.synthesis.ledger.blocks import EDIT, LAYOUT, TEXT_AFTER
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.finished import noted_hashes
from terrasynth.synthesis.ledger.label_columns import CHANGE_CAPTIONS, CHANGED, IMAGES, OBJECTS
from terrasynth.synthesis.review.standing import Standing

UNSPLIT = "train"
SPLITS = (UNSPLIT, "validation", "test")
PROVENANCE = ("generator", "revision", "seed", "guidance", "steps", "prompt_source", "scores")
"""What draws an image again and how it was judged; real images have none of it."""


@dataclass(frozen=True)
class Row:
    """One image with all that is known of it.

    Attributes:
        number: Its place among all exported rows, from 0; a data set that grows keeps it.
        split: "train", "validation" or "test".
        picture: The bytes of its file, as stored.
        suffix: Of that file, without the dot.
        columns: Every other column of the data set.
    """

    number: int
    split: str
    picture: bytes
    suffix: str
    columns: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Letters, digits and hyphens; no other row of the export has it."""
        return str(self.columns["id"])

    @property
    def label(self) -> str:
        """Scene class, or "" where a real image has none."""
        return str(self.columns["label"])

    @property
    def text(self) -> str:
        """What the generator was given, or the first caption of a real image, or that of a person who reviewed it."""
        return str(self.columns["text"])

    @property
    def captions(self) -> tuple[str, ...]:
        """At least one; the first is `text`."""
        return tuple(self.columns["captions"])

    @property
    def scene(self) -> str:
        """JSON object, "{}" where only the text is known."""
        return str(self.columns["scene"])

    @property
    def basis(self) -> str:
        """What is said of it rests on: "prompt", "caption" of a real picture, or "human" where a person reviewed it."""
        return str(self.columns.get(BASIS) or (PROMPT if self.columns["synthetic"] else CAPTION))

    @property
    def file_name(self) -> str:
        """Of the image, where nothing else decides it."""
        return f"{self.id}.{self.suffix}"

    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, from the head of the file."""
        with Image.open(io.BytesIO(self.picture)) as opened:
            return opened.size

    def flat(self) -> dict[str, Any]:
        """The columns in types that any reader of JSON infers alike from any part of the rows.

        What may be null goes into `provenance`, a JSON object as text, as `scene` is one. Labels, which follow from the
        layout (and edit) there, are left out, and so are images.
        """
        apart = (*PROVENANCE, *(name for name in (DRAWN_TEXT, LAYOUT, EDIT, TEXT_AFTER) if name in self.columns))
        columns = {name: value for name, value in self.columns.items()
                   if name not in (*apart, OBJECTS, *IMAGES, CHANGED, CHANGE_CAPTIONS)}
        return columns | {"provenance": as_json({name: self.columns[name] for name in apart})}


class RunRows:
    """The data set of a run directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        run = RunDirectory(root)
        self.recipe = run.recipe
        self._shards = run.shards()
        self._seen = self._state()
        self._standing = Standing.read(root, self.identity)

    @property
    def name(self) -> str:
        """What the recipe calls the data set."""
        return self.recipe.name

    @property
    def identity(self) -> str:
        """Hash of what decides the images."""
        return self.recipe.identity or ""

    @property
    def schema(self) -> pa.Schema:
        """Of the columns, with the metadata of `datasets`."""
        return pq.read_schema(readable(self._shards[0]))

    @property
    def captions(self) -> str:
        """Hash of what people said of its images in words; "" where nobody did."""
        return self._standing.captions_digest

    def is_reviewed(self, row: str) -> bool:
        """Whether a person said in words what the image of that id shows."""
        return row in self._standing.captions

    def captions_of(self, row: Mapping[str, Any]) -> Sequence[str]:
        """The captions of a row as people left them."""
        said = self._standing.captions.get(row["id"])
        captions: Sequence[str] = row["captions"] if said is None else said.captions
        return captions

    def reviewed(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row as people left it: where any was reviewed in words, all have columns for what that rests on."""
        if not self.captions:
            return row
        said = self._standing.captions.get(row["id"])
        return as_drawn(row) if said is None else as_reviewed(row, said)

    def __len__(self) -> int:
        return sum(pq.read_metadata(readable(shard)).num_rows for shard in self._shards)

    def content(self) -> str:
        """SHA-256 over the shards, 64 hexadecimal digits: equal for equal rows that were written in equal parts.

        Raises:
            RunError: A shard is not what the run noted when it ended, or that note is damaged.
        """
        total = hashlib.sha256()
        noted = noted_hashes(self.root)
        for shard in self._shards:
            found = sha256(shard)
            if noted.get(f"data/{shard.name}", found) != found:
                raise RunError(f"{shard} is not what the run wrote; `terrasynth verify {shlex.quote(str(self.root))} "
                               "--repair` writes it again from the blocks")
            total.update(bytes.fromhex(found))
        return total.hexdigest()

    def batches(self, columns: Sequence[str] | None = None, wanted: bytes | None = None) -> Iterator[
        tuple[int, list[dict[str, Any]]]
    ]:
        """Rows as plain data, a row group at a time, each with the place of its first row.

        Captions and scenes come as far as the drawn text implies them, whichever version wrote the run.

        Args:
            columns: Which; None for all.
            wanted: One byte a row; row groups without a byte that is not 0 are passed over. None for all rows.

        Raises:
            RunError: A shard is damaged, or the run went on meanwhile.
        """
        start = 0
        read = None if columns is None else list(dict.fromkeys([*columns, *_beside(columns)]))
        for shard in self._shards:
            self.check_unchanged()
            try:
                with pq.ParquetFile(readable(shard), page_checksum_verification=True) as file:
                    for group in range(file.num_row_groups):
                        rows = file.metadata.row_group(group).num_rows
                        if wanted is None or any(wanted[start : start + rows]):
                            found = file.read_row_group(group, read, use_threads=False).to_pylist()
                            yield start, [_held(row, columns) for row in found]
                        start += rows
            except UNREADABLE as error:
                self.check_unchanged()
                raise unreadable_file(shard, error, "; `terrasynth verify --repair` says what helps") from error
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """Check that the run has not been written to since its shards were listed.

        Raises:
            RunError: It has.
        """
        if self._state() != self._seen:
            raise RunError(f"{str(self.root)!r} changed while it was read; export it again when its run has ended")

    def _state(self) -> list[tuple[str, int, int]]:
        found = ((path, path.stat()) for path in layout.shard_files(self.root))
        return [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in found]


def _beside(columns: Sequence[str]) -> Sequence[str]:
    """The columns without which captions and scene cannot be read."""
    return NEEDED if {"captions", "scene"} & set(columns) else ()


def _held(row: dict[str, Any], columns: Sequence[str] | None) -> dict[str, Any]:
    """What holds of a row, in the columns that were asked for."""
    if columns is None:
        return what_holds(row)
    held = what_holds(row) if _beside(columns) else row
    return {name: held[name] for name in columns}


def suffix_of(image: Mapping[str, Any]) -> str:
    """The suffix of a stored image (`bytes` and `path`), without the dot."""
    return Path(str(image["path"])).suffix[1:]


def as_json(value: object) -> str:
    """JSON on one line in UTF-8."""
    return json.dumps(value, ensure_ascii=False)
