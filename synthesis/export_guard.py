"""Keeps what real test data gives away out of an augmented training set: its captions, and near-copies of its pictures.

A generated picture is a near-copy of a test picture when, by layout or by detail (`eval.thumbnail`), that is nearest of
all real pictures, in any of the eight flips and quarter turns, and nearer than `eval.memorisation.LEVEL` of the test
pictures are to a training picture by the same measure. The filter `near_copy` compares by these two as well, and puts
both under one threshold; here each has its own, so that the second takes nothing from what the first finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from eval.memorisation import LEVEL
from eval.nearest import nearest_by_cosine
from eval.perceptual_hash import VIEWS, turned
from eval.thumbnail import PARTS, ThumbnailEncoder
from prompts.wording import normalised
from synthesis.errors import InputError
from synthesis.evaluating import real_images
from synthesis.export_real import InSplit
from synthesis.export_splits import LeftOut

CHUNK = 256
SAME = 1e-6
"""Distance that rounding leaves between equal pictures."""


class TestGuard:
    """The test split of real data, as what must not come near it sees it.

    Attributes:
        thresholds: Distances (1 - cosine) by layout and by detail below which a picture is a near-copy.
    """

    __test__ = False  # its name is no test's

    def __init__(self, pairs: Sequence[InSplit], size: tuple[int, int]) -> None:
        """Read captions and pictures.

        Args:
            pairs: Of all splits; the test split is not empty.
            size: Width and height in pixels of the pictures to be judged; the real ones are brought to it.

        Raises:
            InputError: There are no training pictures, or a picture is broken.
        """
        self._captions = {
            normalised(caption): caption for pair in pairs if pair.split == "test" for caption in pair.captions
        }
        self._names = [f"{pair.split} picture {pair.name}" for pair in pairs]
        self._is_test = np.array([pair.split == "test" for pair in pairs])
        is_train = np.array([pair.split == "train" for pair in pairs])
        if not is_train.any():
            raise InputError("the merged data has a test split and no training split, so no distance to a training "
                             "picture says what a near-copy is; give data with both")
        self._encoder = ThumbnailEncoder()
        parts = [self._encoder.with_detail(images) for images in _stacks(pairs, size)]
        self._features: NDArray[np.float32] = np.concatenate(parts)
        self.thresholds = self._thresholds(pairs, size, self._features[is_train])

    def met(self, captions: Iterable[str]) -> LeftOut | None:
        """The test caption that one of these equals, apart from case, marks and blanks."""
        for caption in captions:
            found = self._captions.get(normalised(caption))
            if found is not None:
                return LeftOut("caption of the real test split", f"{caption!r} is said of a test picture: {found!r}")
        return None

    def describe(self) -> str:
        """What is refused, in words, with its figures."""
        tests = int(self._is_test.sum())
        nearer = " or ".join(f"{limit:.6f} by {name}" for name, limit in self.thresholds.items())
        return (
            f"The real test split ({tests} pictures, {len(self._captions)} captions of distinct wording) is guarded: a "
            "synthetic row is refused when one of its captions is one of these, apart from case, marks and blanks, or "
            f"when the nearest real picture is one of these and nearer than {nearer} (1 - cosine, eight flips and "
            f"turns), which at most {LEVEL:.0%} of them are to a training picture."
        )

    def near(self, images: NDArray[np.uint8]) -> list[LeftOut | None]:
        """The test picture that each picture, uint8 (N, H, W, 3), is a near-copy of."""
        index, distance = self._nearest(images, self._features)
        return [self._left_out(index[:, row], distance[:, row]) for row in range(len(images))]

    def _left_out(self, index: NDArray[np.int64], distance: NDArray[np.float32]) -> LeftOut | None:
        """Why a picture is refused, by its nearest real pictures (measures,) and the distances to them."""
        for (name, limit), nearest, away in zip(self.thresholds.items(), index, distance, strict=True):
            if self._is_test[nearest] and (away < limit or away <= SAME):
                return LeftOut("near-copy of the real test split",
                               f"{away:.6f} from {self._names[nearest]}, threshold {limit:.6f} (1 - cosine of {name})")
        return None

    def _thresholds(
        self, pairs: Sequence[InSplit], size: tuple[int, int], train: NDArray[np.float32]
    ) -> dict[str, float]:
        """What few test pictures are nearer than to a training picture; those that are one do not count.

        Of fewer than 1 / `LEVEL` that is the smallest distance, which is so coarse that the layout alone is asked.
        """
        tests = [pair for pair in pairs if pair.split == "test"]
        found = np.concatenate([self._nearest(images, train)[1] for images in _stacks(tests, size)], axis=1)
        others = {name: np.sort(own[own > SAME]) for name, own in zip(PARTS, found, strict=True)}
        fewest = {name: 1 / LEVEL for name in PARTS} | {"layout": 1}
        return {name: float(own[int(LEVEL * len(own) * (1 + 1e-9))]) if len(own) >= fewest[name] else 0.0
                for name, own in others.items()}

    def _nearest(
        self, images: NDArray[np.uint8], known: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows (measures, N) of the nearest known pictures in any view, and the distances to them."""
        ends = np.cumsum(list(PARTS.values()))[:-1]
        index = np.zeros((len(PARTS), len(images)), np.int64)
        distance = np.full(index.shape, np.inf, np.float32)
        for view in range(VIEWS):
            described = np.split(self._encoder.with_detail(turned(images, view)), ends, axis=1)
            for place, (own, others) in enumerate(zip(described, np.split(known, ends, axis=1), strict=True)):
                found = nearest_by_cosine(own, others)
                closer = found.distance[:, 0] < distance[place]
                index[place, closer], distance[place, closer] = found.index[closer, 0], found.distance[closer, 0]
        return index, distance


def _stacks(pairs: Sequence[InSplit], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """The pictures at one (width, height), uint8 (up to `CHUNK`, H, W, 3) at a time."""
    remaining = iter(pairs)
    while part := list(islice(remaining, CHUNK)):
        yield real_images(part, size)
