"""Rows of real image-caption data, as an augmented set holds them beside the synthetic ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from terrasynth.synthesis.core.identity import digest
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.core.real_pictures import RealPair, opened
from terrasynth.synthesis.export.rows import PROVENANCE, Row

_SPLITS = {"train": "train", "val": "validation", "test": "test"}
LOSSLESS = "png"


class InSplit(RealPair, Protocol):
    """A real image with its captions, and the split it belongs to.

    Attributes:
        split: "train", "val" or "test".
    """

    @property
    def split(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class RealSet:
    """One data set.

    Attributes:
        name: What it is called, without a path of this machine.
        place: Where it was read: a folder, a file, or its name on the Hub.
    """

    name: str
    pairs: Sequence[InSplit]
    place: Path

    @property
    def identity(self) -> str:
        """Hash of names, splits, classes and captions; the images are not opened for it."""
        return digest(self.described())

    def described(self) -> list[object]:
        """Its name, and of each pair name, split, class and captions."""
        return [self.name, [[pair.name, pair.split, pair.label, pair.captions] for pair in self.pairs]]

    @classmethod
    def of(cls, source: Path, pairs: Sequence[InSplit]) -> RealSet:
        """The data at a place: it is called as its folder or file is."""
        return cls(source.resolve().stem if source.exists() else str(source), pairs, source)


class RealRows:
    """The rows of data sets, one set after the other."""

    def __init__(self, sets: Sequence[RealSet]) -> None:
        self.sets = sets

    @property
    def names(self) -> Sequence[str]:
        """What the data sets are called."""
        return [one.name for one in self.sets]

    @property
    def pairs(self) -> list[InSplit]:
        """Those of all data sets."""
        return [pair for one in self.sets for pair in one.pairs]

    def counts(self) -> Counter[tuple[str, str]]:
        """Rows by (split, class)."""
        return Counter((_SPLITS[pair.split], pair.label) for pair in self.pairs)

    def content(self) -> str:
        """Hash of names, splits, classes and captions; the images are not opened for it."""
        return digest([one.described() for one in self.sets])

    def check(self) -> None:
        """Open every image once, so that an export does not stop halfway at one that is broken.

        Raises:
            InputError: An image is broken.
        """
        for pair in self.pairs:
            opened(pair)

    def rows(self, split: str | None) -> Iterator[Row]:
        """The rows of a split, or of all; each image as a PNG file, in the size that it has.

        Raises:
            InputError: An image is broken.
        """
        seen: Counter[str] = Counter()
        number = -1
        for one in self.sets:
            for pair in one.pairs:
                number += 1
                key = "\0".join([one.name, pair.split, pair.name])
                seen[key] += 1
                if split in (None, _SPLITS[pair.split]):
                    yield _row(number, pair, _id(key, seen[key]))


def _row(number: int, pair: InSplit, own_id: str) -> Row:
    columns = {
        "id": own_id,
        "text": pair.captions[0],
        "captions": list(pair.captions),
        "label": pair.label,
        "scene": "{}",
        "synthetic": False,
        "source": "real",
        **dict.fromkeys(PROVENANCE),
    }
    return Row(number, _SPLITS[pair.split], encode(np.asarray(opened(pair)), LOSSLESS), LOSSLESS, columns)


def _id(key: str, occurrence: int) -> str:
    return "real-" + hashlib.blake2b(f"{key}\0{occurrence}".encode(), digest_size=8).hexdigest()
