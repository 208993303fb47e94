"""What a data set holds: every image is opened once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.measures import pixel_hash
from terrasynth.eval.copies.perceptual_hash import BITS, VIEWS, perceptual_hashes
from terrasynth.training.data import Pair, PairSet, Skipped, read_pairs
from terrasynth.training.errors import InputError


@dataclass(frozen=True)
class Look:
    """A data set, seen.

    Attributes:
        data: How it was read; what was left out is in `skipped`.
        pairs: The images that can be opened; those without a caption have no captions.
        sizes: Width and height of each.
        hashes: `uint8` (N, 8, 8), perceptual hashes of their eight views.
        digests: A hash of the pixels of each.
        unreadable: Images that cannot be opened, and why.
    """

    data: PairSet
    pairs: tuple[Pair, ...]
    sizes: tuple[tuple[int, int], ...]
    hashes: NDArray[np.uint8]
    digests: tuple[str, ...]
    unreadable: tuple[Skipped, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class, by name; those without a class are not among them."""
        return dict(sorted(Counter(pair.label for pair in self.pairs if pair.label).items()))

    @property
    def splits(self) -> dict[str, int]:
        """Images of each split that there is."""
        found = Counter(pair.split for pair in self.pairs)
        return {name: found[name] for name in ("train", "val", "test") if found[name]}

    @property
    def bare(self) -> bool:
        """Whether there is an image that the data have no caption of."""
        return not all(pair.described for pair in self.pairs)

    def twins(self) -> list[list[int]]:
        """Rows of images that are the same in every pixel and of several classes."""
        rows: dict[str, list[int]] = {}
        for row, digest in enumerate(self.digests):
            rows.setdefault(digest, []).append(row)
        return [own for own in rows.values() if len({self.pairs[row].label for row in own}) > 1]


def look_at(source: str | Path) -> Look:
    """Read a data set and open each of its images.

    Raises:
        InputError: It cannot be read, or no image of it can be opened.
    """
    data = read_pairs(source, captionless=True)
    pairs: list[Pair] = []
    sizes: list[tuple[int, int]] = []
    hashes, digests, unreadable = [], [], []
    for pair in data.pairs:
        try:
            image = pair.open()
        except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for broken files
            unreadable.append(Skipped(pair.name, str(error)))
            continue
        pixels = np.asarray(image)
        pairs.append(pair)
        sizes.append(image.size)
        hashes.append(perceptual_hashes(pixels[None])[0])
        digests.append(pixel_hash(pixels))
    if not pairs:
        raise InputError(f"none of {len(data.pairs)} images can be opened; the first is {unreadable[0].name}: "
                         f"{unreadable[0].reason}")
    shape = (len(pairs), VIEWS, BITS // 8)
    return Look(data, tuple(pairs), tuple(sizes), np.stack(hashes).reshape(shape), tuple(digests), tuple(unreadable))


def some(names: Sequence[str], shown: int = 3) -> str:
    """The first names, and that there are more."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
