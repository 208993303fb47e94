"""Keeps what real test data gives away out of an augmented training set: its captions, and near-copies of its images.

A generated image is a near-copy of a test image when, by layout, by detail (`terrasynth.eval.models.thumbnail`) or
laid over it (`terrasynth.eval.copies.registration`), that is nearest of all real images, in any of the eight flips
and quarter turns, and nearer than `terrasynth.eval.copies.memorisation.LEVEL` of the test images are to a training
image by the same measure. The filter `near_copy` compares by these as well, and puts all under one threshold; here
each has its own, so that none takes anything from what another finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.memorisation import LEVEL
from terrasynth.eval.copies.nearest import nearest_by_cosine
from terrasynth.eval.copies.perceptual_hash import VIEWS, turned
from terrasynth.eval.copies.registration import REGISTERED, Registration
from terrasynth.eval.models.thumbnail import PARTS, ThumbnailEncoder
from terrasynth.prompts.scenes.wording import normalised
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.real_pictures import real_images
from terrasynth.synthesis.export.real import InSplit
from terrasynth.synthesis.export.splits import LeftOut

CHUNK = 256
MEASURES = (*PARTS, REGISTERED)
ENDS = np.cumsum(list(PARTS.values()))[:-1]
SAME = 1e-6
"""Distance that rounding leaves between equal images."""


class TestGuard:
    """The test split of real data, as what must not come near it sees it.

    Attributes:
        thresholds: Distances by layout, by detail (1 - cosine) and after being laid over it (1 - correlation) below
            which an image is a near-copy.
    """

    __test__ = False  # its name is no test's

    def __init__(self, pairs: Sequence[InSplit], size: tuple[int, int]) -> None:
        """Read captions and images.

        Args:
            pairs: Of all splits; the test split is not empty.
            size: Width and height in pixels of the images to be judged; the real ones are brought to it.

        Raises:
            InputError: There are no training images, or an image is broken.
        """
        self._captions = {
            normalised(caption): caption for pair in pairs if pair.split == "test" for caption in pair.captions
        }
        self._names = [f"{pair.split} image {pair.name}" for pair in pairs]
        self._is_test = np.array([pair.split == "test" for pair in pairs])
        is_train = np.array([pair.split == "train" for pair in pairs])
        if not is_train.any():
            raise InputError("the merged data has a test split and no training split, so no distance to a training "
                             "image says what a near-copy is; give data with both")
        self._encoder = ThumbnailEncoder()
        parts = [self._encoder.with_detail(images) for images in _stacks(pairs, size)]
        features: NDArray[np.float32] = np.concatenate(parts)
        self.thresholds = self._thresholds(pairs, size, _RealIndex(features[is_train]))
        self._features = _RealIndex(features)

    def met(self, captions: Iterable[str]) -> LeftOut | None:
        """The test caption that one of these equals, apart from case, marks and blanks."""
        for caption in captions:
            found = self._captions.get(normalised(caption))
            if found is not None:
                return LeftOut("caption of the real test split", f"{caption!r} is said of a test image: {found!r}")
        return None

    def describe(self) -> str:
        """What is refused, in words, with its figures."""
        tests = int(self._is_test.sum())
        nearer = " or ".join(f"{limit:.6f} by {name}" for name, limit in self.thresholds.items())
        return (
            f"The real test split ({tests} images, {len(self._captions)} captions of distinct wording) is guarded: a "
            "synthetic row is refused when one of its captions is one of these, apart from case, marks and blanks, or "
            f"when the nearest real image is one of these and nearer than {nearer} (1 - similarity, eight flips and "
            f"turns), which at most {LEVEL:.0%} of them are to a training image."
        )

    def near(self, images: NDArray[np.uint8]) -> list[LeftOut | None]:
        """The test image that each image, uint8 (N, H, W, 3), is a near-copy of."""
        index, distance = self._nearest(images, self._features)
        return [self._left_out(index[:, row], distance[:, row]) for row in range(len(images))]

    def _left_out(self, index: NDArray[np.int64], distance: NDArray[np.float32]) -> LeftOut | None:
        """Why an image is refused, by its nearest real images (measures,) and the distances to them."""
        for (name, limit), nearest, away in zip(self.thresholds.items(), index, distance, strict=True):
            if self._is_test[nearest] and (away < limit or away <= SAME):
                return LeftOut("near-copy of the real test split",
                               f"{away:.6f} from {self._names[nearest]}, threshold {limit:.6f} "
                               f"(1 - similarity by {name})")
        return None

    def _thresholds(
        self, pairs: Sequence[InSplit], size: tuple[int, int], train: _RealIndex
    ) -> dict[str, float]:
        """What few test images are nearer than to a training image; those that are one do not count.

        Of fewer than 1 / `LEVEL` that is the smallest distance, which is so coarse that the layout alone is asked.
        """
        tests = [pair for pair in pairs if pair.split == "test"]
        found = np.concatenate([self._nearest(images, train)[1] for images in _stacks(tests, size)], axis=1)
        copied = (found[: len(PARTS)] <= SAME).all(0)  # of which rounding leaves more once they are laid over
        others = {name: np.sort(own[(own > SAME) & ~copied]) for name, own in zip(MEASURES, found, strict=True)}
        fewest = {name: 1 / LEVEL for name in MEASURES} | {"layout": 1}
        return {name: float(own[int(LEVEL * len(own) * (1 + 1e-9))]) if len(own) >= fewest[name] else 0.0
                for name, own in others.items()}

    def _nearest(
        self, images: NDArray[np.uint8], known: _RealIndex
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows (measures, N) of the nearest known images in any view, and the distances to them."""
        views = [self._encoder.with_detail(turned(images, view)) for view in range(VIEWS)]
        parts = [np.stack(each) for each in zip(*(np.split(view, ENDS, axis=1) for view in views), strict=True)]
        index = np.zeros((len(MEASURES), len(images)), np.int64)
        distance = np.full(index.shape, np.inf, np.float32)
        for place, (seen, others) in enumerate(zip(parts, known.parts, strict=True)):
            for own in seen:
                found = nearest_by_cosine(own, others)
                closer = found.distance[:, 0] < distance[place]
                index[place, closer], distance[place, closer] = found.index[closer, 0], found.distance[closer, 0]
        laid = known.registration.nearest(parts[0], parts[1])
        index[-1], distance[-1] = laid.index[:, 0], 1 - laid.correlation[:, 0]
        return index, distance


class _RealIndex:
    """Real images, by layout and detail (N, 1792), ready to be compared with."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        self.parts = np.split(features, ENDS, axis=1)
        self.registration = Registration(self.parts[0], self.parts[1])


def _stacks(pairs: Sequence[InSplit], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """The images at one (width, height), uint8 (up to `CHUNK`, H, W, 3) at a time."""
    remaining = iter(pairs)
    while part := list(islice(remaining, CHUNK)):
        yield real_images(part, size)
