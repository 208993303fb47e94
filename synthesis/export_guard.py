"""Keeps what real test data gives away out of an augmented training set: its captions, and near-copies of its pictures.

A generated picture is a near-copy of a test picture when that is the nearest of all real pictures, in any of the eight
flips and quarter turns, and nearer than `eval.memorisation.LEVEL` of the test pictures are to a training picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from eval.memorisation import LEVEL, near_copies
from eval.picture_measures import FeatureMeasure, Nearest, nearest_picture
from eval.thumbnail import THUMBNAIL, ThumbnailEncoder
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
        threshold: Distance (1 - cosine of thumbnails) below which a picture is a near-copy.
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
        self._measure = FeatureMeasure(THUMBNAIL, ThumbnailEncoder())
        parts = [next(iter(self._measure.views(images, 1))) for images in _stacks(pairs, size)]
        self._features: NDArray[np.float32] = np.concatenate(parts)
        self.threshold = self._threshold(pairs, size, self._features[is_train])

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
        return (
            f"The real test split ({tests} pictures, {len(self._captions)} captions of distinct wording) is guarded: a "
            "synthetic row is refused when one of its captions is one of these, apart from case, marks and blanks, or "
            f"when the nearest real picture is one of these and nearer than {self.threshold:.6f} ({self._measure.unit} "
            f"of the {self._measure.name}, eight flips and turns), which at most {LEVEL:.0%} of them are to a training "
            "picture."
        )

    def near(self, images: NDArray[np.uint8]) -> list[LeftOut | None]:
        """The test picture that each picture, uint8 (N, H, W, 3), is a near-copy of."""
        found = nearest_picture(self._measure, images, self._features)
        return [
            LeftOut("near-copy of the real test split",
                    f"{distance:.6f} from {self._names[index]}, threshold {self.threshold:.6f} ({self._measure.unit} "
                    f"of {self._measure.name})")
            if self._is_test[index] and (distance < self.threshold or distance <= SAME) else None
            for index, distance in zip(found.index, found.distance, strict=True)
        ]

    def _threshold(
        self, pairs: Sequence[InSplit], size: tuple[int, int], train: NDArray[np.float32]
    ) -> float:
        """What few test pictures are nearer than to a training picture; those that are one do not count."""
        tests = [pair for pair in pairs if pair.split == "test"]
        found = [nearest_picture(self._measure, images, train) for images in _stacks(tests, size)]
        index, distance, view = (
            np.concatenate(parts)
            for parts in zip(*((part.index, part.distance, part.view) for part in found), strict=True)
        )
        others = distance > SAME
        if not others.any():
            return 0.0
        null = Nearest(index[others], distance[others], view[others], all(part.exact for part in found))
        return near_copies(self._measure, null, null, None, None, seed=0).threshold


def _stacks(pairs: Sequence[InSplit], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """The pictures at one (width, height), uint8 (up to `CHUNK`, H, W, 3) at a time."""
    remaining = iter(pairs)
    while part := list(islice(remaining, CHUNK)):
        yield real_images(part, size)
