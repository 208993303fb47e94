"""The images of `eval downstream` in memory: real ones, and the attempts of a run that a training asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrasynth.prompts.scenes.wording import place_of
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import NEEDED, what_holds
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.core.identity import ID_LENGTH, canonical
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.core.real_pictures import RealPair, real_images
from terrasynth.synthesis.ledger.attempts import Attempts
from terrasynth.synthesis.ledger.directory import RunDirectory


@dataclass(frozen=True)
class Pool:
    """Images with their classes and captions.

    Attributes:
        images: uint8 (N, H, W, 3).
        digests: 16 hex digits of pixels, class and captions of each.
    """

    images: NDArray[np.uint8]
    labels: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    digests: tuple[str, ...]

    @classmethod
    def of(cls, images: NDArray[np.uint8], labels: Sequence[str], captions: Sequence[Sequence[str]]) -> Pool:
        """A pool of images (N, H, W, 3) with their classes and captions."""
        texts = tuple(tuple(own) for own in captions)
        digests = tuple(
            hashlib.sha256(canonical([image.shape, label, own]).encode() + image.tobytes()).hexdigest()[:ID_LENGTH]
            for image, label, own in zip(images, labels, texts, strict=True)
        )
        return cls(images, tuple(labels), texts, digests)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Sequence[int]) -> Pool:
        """Some of the images, in the order of `rows`, which may repeat."""
        chosen = np.array(rows, np.intp)
        return Pool(self.images[chosen], tuple(self.labels[row] for row in rows),
                    tuple(self.captions[row] for row in rows), tuple(self.digests[row] for row in rows))

    def __add__(self, other: Pool) -> Pool:
        return Pool(np.concatenate([self.images, other.images]), self.labels + other.labels,
                    self.captions + other.captions, self.digests + other.digests)


def real_pool(pairs: Sequence[RealPair], size: tuple[int, int], split: str) -> Pool:
    """Real images at the (width, height) of the run's, so that both come to the networks in the same way.

    Raises:
        InputError: An image without a class, or one that cannot be read.
    """
    for pair in pairs:
        if not pair.label:
            raise InputError(f"image {pair.name!r} of split {split!r} has no class, and the real subsets are drawn "
                             "class by class; use data with classes")
    return Pool.of(real_images(pairs, size), [pair.label for pair in pairs], [pair.captions for pair in pairs])


@dataclass(frozen=True)
class RunAttempts:
    """All attempts of a run, in order of (class, k); images are read when they are asked for.

    Attributes:
        labels: The class of each, as the real data call it.
        accepted: bool (N,), whether it is in the data set.
    """

    recipe: str
    identity: str
    labels: tuple[str, ...]
    accepted: NDArray[np.bool_]
    attempts: Attempts

    @classmethod
    def read(cls, run: Path, classes: Sequence[str]) -> RunAttempts:
        """What a finished run attempted and accepted.

        Raises:
            InputError: No finished run with accepted rows, or a class of accepted rows that the real data do not have.
            RunError: A damaged block.
        """
        opened = RunDirectory(run)
        recipe = opened.recipe
        decided = run / layout.DECISIONS
        if not decided.is_file():
            raise InputError(f"{str(run)!r} has no {layout.DECISIONS}; run its recipe to the end first")
        kept = pq.read_table(readable(decided), columns=["id"], filters=[("accepted", "=", True)])
        accepted = set(kept["id"].to_pylist())
        every = opened.attempts()
        ids = [one for table in every.read(["id"]) for one in table.column("id").to_pylist()]
        mask = np.array([one in accepted for one in ids], np.bool_)
        if not mask.any():
            raise InputError(f"{str(run)!r} holds no accepted attempt under blocks/; loosen its filters and run it "
                             "again")
        known = {label: place_of(label, classes) for label in dict.fromkeys(every.labels)}
        # What a smaller recipe gave up lies in the blocks still, and no arm takes any of it.
        held = {label for label, inside in zip(every.labels, mask, strict=True) if inside}
        for label, place in known.items():
            if place is None and label in held:
                raise InputError(f"class {label!r} of the run has no real image; the data have: {', '.join(classes)}")
        labels = tuple(label if (place := known[label]) is None else classes[place] for label in every.labels)
        return cls(recipe.name, recipe.identity or "", labels, mask, every)

    def pool(self, rows: Sequence[int]) -> tuple[Pool, dict[int, int]]:
        """The images of some attempts, and the place of each row in the pool. One pass over the blocks."""
        wanted = sorted(set(rows))
        held, images, captions = set(wanted), [], []
        start = 0
        for table in self.attempts.read(["image", *NEEDED]):
            for offset in range(len(table)):
                if start + offset in held:
                    row = what_holds(table.slice(offset, 1).to_pylist()[0])
                    images.append(decode(row["image"]["bytes"]))
                    captions.append(tuple(row["captions"]))
            start += len(table)
        made = Pool.of(np.stack(images), [self.labels[row] for row in wanted], captions)
        return made, {row: place for place, row in enumerate(wanted)}
