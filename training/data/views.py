"""Versions of an image to learn from that are all true views from straight above: turned, mirrored, nearer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.synthesis.core.real_pictures import opened
from terrasynth.training.data import Pair, Skipped
from terrasynth.training.errors import InputError

TURNS = 8


@dataclass(frozen=True)
class View:
    """A square part of an image, turned.

    Attributes:
        turn: One of the eight flips and quarter turns, as `terrasynth.training.data.pictures.dihedral` counts them.
        scale: Side of the part as a share of the image's shorter side.
        left: Place of the part, 0 for the left edge and 1 for the right one.
        top: The same from top to bottom.
    """

    turn: int = 0
    scale: float = 1.0
    left: float = 0.5
    top: float = 0.5

    def of(self, picture: Image.Image, size: int) -> NDArray[np.uint8]:
        """The view, `uint8` (size, size, 3). Colors stay as they are, and a pixel stays as long as it is wide."""
        return self._seen(picture, size, Image.Resampling.LANCZOS)

    def of_mask(self, mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """The view of a mask `uint8` (H, W), whose values stay as they are; `uint8` (size, size)."""
        return self._seen(Image.fromarray(mask), size, Image.Resampling.NEAREST)

    def _seen(self, picture: Image.Image, size: int, resampling: Image.Resampling) -> NDArray[np.uint8]:
        side = self.scale * min(picture.size)
        left, top = self.left * (picture.width - side), self.top * (picture.height - side)
        shown = picture.resize((size, size), resampling, box=(left, top, left + side, top + side))
        pixels = np.rot90(np.asarray(shown), self.turn % 4)
        return np.array(pixels[:, ::-1] if self.turn >= TURNS // 2 else pixels, order="C")


def random_views(row: int, count: int, least: float, seed: int, turned: bool = True) -> list[View]:
    """Views of the training image `row`, the same for the same arguments.

    The first is the image's middle, whole and upright; the others lie anywhere in it.

    Args:
        least: Smallest share of the image's shorter side that a view spans.
        turned: Flip and turn them.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, row]))
    views = []
    for number in range(count):
        scale, left, top = random.uniform(least, 1.0), *random.uniform(size=2)
        turn = number % TURNS if turned else 0
        views.append(View(turn, float(scale), float(left), float(top)) if number else View())
    return views


@dataclass(frozen=True)
class Pictures:
    """The images of one split that can be read.

    Attributes:
        digest: Hash of all their pixels.
    """

    pairs: tuple[Pair, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def captions(self) -> tuple[tuple[str, ...], ...]:
        """The captions of each image."""
        return tuple(pair.captions for pair in self.pairs)

    def class_names(self) -> list[str]:
        """The class name of each image; "" where there is none."""
        return [pair.label for pair in self.pairs]

    def open(self, rows: Sequence[int], size: int) -> NDArray[np.uint8]:
        """Images as they are judged: the middle, upright; `uint8` (N, size, size, 3)."""
        return np.stack([View().of(opened(self.pairs[row]), size) for row in rows])


def spread(rows: int, count: int) -> list[int]:
    """`count` of `rows` row numbers at even distances, or all where there are fewer."""
    return [int(row) for row in np.linspace(0, rows - 1, min(count, rows)).round()]


def read_split(pairs: Sequence[Pair], split: str, skipped: list[Skipped]) -> Pictures:
    """Decode every image of a split once, and leave out by name what cannot be read.

    Raises:
        InputError: The split is empty, or nothing in it can be read.
    """
    if not pairs:
        raise InputError(f"the data has no {split!r} split; it is needed (the best checkpoint is chosen on val)")
    digest, kept = hashlib.sha256(), []
    for pair in pairs:
        try:
            picture = pair.open()
        except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for broken files
            skipped.append(Skipped(pair.name, f"unreadable image: {error}"))
            continue
        digest.update(f"{picture.size}".encode() + picture.tobytes())
        kept.append(pair)
    if not kept:
        last = skipped[-1]
        raise InputError(f"none of {len(pairs)} images could be read; the last was {last.name}: {last.reason}")
    return Pictures(tuple(kept), digest.hexdigest())
