"""The attempts of a run, read again: images, texts and measurements by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.ledger.blocks import Blocks


@dataclass(frozen=True)
class Attempts:
    """Where the attempts of a run are stored, in the order in which masks and features count them.

    Images that the model's safety checker made black are no attempts here: no filter was asked about them.

    Attributes:
        places: Class and number of each block.
        shown: Of each block, the rows that are attempts.
    """

    blocks: Blocks
    places: tuple[tuple[str, int], ...]
    shown: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, blocks: Blocks, limit: int) -> Attempts:
        """All whole blocks of a run, or the first ones of each class where there are more attempts than `limit`."""
        folders = [folder for folder in layout.block_folders(blocks.root) if any(folder.glob("*.parquet"))]
        most = max(1, limit // max(1, len(folders)) // blocks.block_size)
        places = []
        for folder in folders:
            index = 0
            while index < most and blocks.exists(folder.name, index):
                places.append((folder.name, index))
                index += 1
        shown = []
        for label, index in places:
            withheld = blocks.withheld(label, index)
            shown.append(tuple(row for row in range(blocks.block_size) if row not in withheld))
        labels = tuple(label for (label, _), rows in zip(places, shown, strict=True) for _ in rows)
        return cls(blocks, tuple(places), tuple(shown), labels)

    def read(self, columns: Sequence[str]) -> Iterator[Any]:
        """The columns of each block in turn, as Arrow tables."""
        for (label, index), rows in zip(self.places, self.shown, strict=True):
            table = self.blocks.read(label, index, columns)
            yield table if len(rows) == len(table) else table.take(pa.array(rows, pa.int64()))

    def rows(self, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """The columns of single attempts, by their number in `labels`."""
        found, before = [], np.cumsum([0, *map(len, self.shown)])
        for number in numbers:
            place = int(np.searchsorted(before, number, "right")) - 1
            label, index = self.places[place]
            table = self.blocks.read(label, index, columns)
            found.append(table.slice(self.shown[place][number - before[place]], 1).to_pylist()[0])
        return found


def attempt_size(run: Path) -> tuple[int, int]:
    """Width and height of the images that a run has drawn.

    Raises:
        InputError: It has drawn none.
    """
    block = layout.first_block(run)
    if block is None:
        raise InputError(f"{str(run)!r} holds no attempts under blocks/; run its recipe first")
    first = Blocks(run, 1, "").read(block.parent.name, int(block.stem), ["image"]).column("image")[0].as_py()
    height, width, _ = decode(first["bytes"]).shape
    return width, height
