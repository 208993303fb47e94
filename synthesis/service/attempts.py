"""All that is known of one row: its image, and how it came to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.cards.redraw import redraw_of
from terrasynth.synthesis.core.drawn_texts import what_holds
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.ledger.block_files import drawn_of
from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.ledger.one_attempt import read_attempt
from terrasynth.synthesis.service import row_queries
from terrasynth.synthesis.service.row_queries import Row

if TYPE_CHECKING:
    from terrasynth.synthesis.ledger.frozen import Frozen
    from terrasynth.synthesis.service.data_sets import DataSets

MEDIA_TYPES: Mapping[str, str] = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}


class UnknownRowError(InputError):
    """There is no row of that id."""


@dataclass(frozen=True)
class RowProvenance:
    """How a row came to be.

    Attributes:
        row: What became of it.
        captions: Ways to say what its text says.
        scene: What the text says is in the image, where more than the text is known.
        prompt_source: Name of the expander.
        seed: Of the noise.
        identity: Hash of what decides the images of the data set.
        generator: What decided the image beside prompt and seed.
        drawn: On what, and how, its block was drawn.
        command: What draws it again.
    """

    row: Row
    captions: tuple[str, ...]
    scene: dict[str, Any]
    prompt_source: str
    seed: int
    identity: str
    generator: dict[str, Any]
    drawn: dict[str, Any]
    command: str


def indexed_row(data_sets: DataSets, name: str, row: str) -> Row:
    """The row of an id.

    Raises:
        UnknownDataSetError: There is no data set of that name.
        UnknownRowError: It has no such row.
    """
    index, _ = data_sets.index(name)
    with index.reading() as connection:
        found = row_queries.one(connection, row)
    if found is None:
        raise UnknownRowError(f"data set {name!r} has no row {row}; rows of /v1/data-sets/{name}/rows have ids")
    return found


def image_of(data_sets: DataSets, name: str, row: str) -> tuple[bytes, str]:
    """The stored bytes of a row's image and their media type.

    Raises:
        UnknownRowError: There is no such row.
        RunError: Its block is damaged.
    """
    found, frozen = indexed_row(data_sets, name, row), data_sets.frozen(name)
    read = read_attempt(_blocks(data_sets, name, frozen), frozen.identity, found.label, found.k, ["image"])
    return read["image"]["bytes"], MEDIA_TYPES[frozen.image_format]


def provenance_of(data_sets: DataSets, name: str, row: str) -> RowProvenance:
    """All that is known of a row.

    Raises:
        UnknownRowError: There is no such row.
        RunError: Its block is damaged.
    """
    found, frozen = indexed_row(data_sets, name, row), data_sets.frozen(name)
    blocks = _blocks(data_sets, name, frozen)
    columns = ["text", "label", "captions", "scene", "seed", "prompt_source"]
    read = what_holds(read_attempt(blocks, frozen.identity, found.label, found.k, columns))
    generator = frozen.identity.parts["generator"]
    return RowProvenance(
        replace(found, text=read["text"]), tuple(read["captions"]), json.loads(read["scene"]), read["prompt_source"],
        read["seed"], frozen.identity.hash,
        dict(generator) if isinstance(generator, Mapping) else {},
        drawn_of(blocks.path(found.label, found.k // frozen.block_size)) or {},
        redraw_of(data_sets.recipe(name), frozen.identity.parts).line(found.label, read["text"], read["seed"]),
    )


def with_texts(data_sets: DataSets, name: str, rows: tuple[Row, ...]) -> list[Row]:
    """Rows with their texts, also where the index has not read these yet; each block is read once."""
    missing = [row for row in rows if row.text is None]
    if not missing:
        return list(rows)
    frozen = data_sets.frozen(name)
    blocks, found = _blocks(data_sets, name, frozen), dict[str, str]()
    for label, index in {(row.label, row.k // frozen.block_size) for row in missing}:
        table = blocks.read(label, index, ["id", "text"])
        found.update(zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True))
    return [replace(row, text=found.get(row.id, row.text)) for row in rows]


def _blocks(data_sets: DataSets, name: str, frozen: Frozen) -> Blocks:
    return Blocks(data_sets.folder(name), frozen.block_size, frozen.image_format, frozen.identity)
