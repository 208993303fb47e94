"""Does a set repeat itself? Distances to the nearest other image of the set, beside those within real images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.measures import Measure, Nearest, nearest_picture, pixel_hash
from terrasynth.eval.copies.memorisation import LEVEL, NearCopies, name_of, near_copies
from terrasynth.eval.errors import InputError

SAME_MIX = "as many of each class"
ANY_MIX = "classes as they come"


@dataclass(frozen=True)
class TwinPair:
    """An image and the nearest other one of the set.

    Attributes:
        measure: By which they are near.
        row: Of the one.
        view: How the one has to be turned to lie on the other (see `terrasynth.eval.copies.perceptual_hash.turned`).
        distance: Between them.
    """

    measure: str
    row: int
    other: int
    view: int
    distance: float


@dataclass(frozen=True)
class SelfDistances:
    """Distances of each image to the nearest other one of its set, by one measure, without a null.

    Attributes:
        unit: Of the distances.
    """

    measure: str
    unit: str
    smallest: float
    median: float


@dataclass(frozen=True)
class Repetition:
    """What `repetition` found.

    Attributes:
        identical: Images that equal another one of the set in every pixel.
        real_identical: The same of the real images compared with; None without.
        n_real: Real images compared with, as many as images of the set in `measures`; 0 without.
        mix: How both were chosen, `SAME_MIX` or `ANY_MIX`.
        distances: Of the whole set, one entry a measure.
        measures: Of equal numbers of images and real images, one entry a measure; empty without real images.
        pairs: The nearest pairs of each measure.
    """

    n: int
    identical: int
    real_identical: int | None
    n_real: int
    mix: str
    seed: int
    distances: tuple[SelfDistances, ...]
    measures: tuple[NearCopies, ...]
    pairs: tuple[TwinPair, ...]

    def to_json(self) -> dict[str, object]:
        """Nested plain data, ready for `json.dump`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The figures for people."""
        real = "" if self.real_identical is None else f"; real {self.real_identical} of {self.n_real}"
        lines = [f"identical images {self.identical} of {self.n}{real}"]
        if not self.measures:
            return lines + [
                f"nearest other      smallest {one.smallest:.4g}, median {one.median:.4g} ({one.unit}); by "
                f"{one.measure}; no real images to compare with" for one in self.distances
            ]
        for one in self.measures:
            middle = one.quantiles["0.5"]
            lines.append(
                f"near duplicates    {one.share}; real {one.null:.3f} (n = {self.n_real}, {self.mix}, seed "
                f"{self.seed}); nearer to another than {one.threshold:.4g} ({one.unit}), which {LEVEL:.0%} of the real "
                f"are; median {middle[0]:.4g}, real {middle[1]:.4g}; by {name_of(one)}"
            )
        return lines


def repetition(
    images: NDArray[np.uint8], measures: Sequence[Measure], *, labels: Sequence[str] | None = None,
    real: NDArray[np.uint8] | None = None, real_labels: Sequence[str] | None = None, seed: int = 0, pairs: int = 16,
) -> Repetition:
    """Find images of a set that are copies of one another, turned ones included.

    The nearest other image is nearer in a larger set, and classes differ: so the set and the real images are
    compared at equal number, of each class where both have labels.

    Args:
        images: `uint8` (N, H, W, 3), N >= 2.
        measures: How to compare; at least one.
        real: Real images of the same size, `uint8` (M, H, W, 3); without them there is no null.
        seed: Of the choice of equal numbers, and of the intervals.
        pairs: How many of the nearest pairs of each measure to return.

    Raises:
        InputError: Too few images, of two sizes, or numbers that do not match.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import HashMeasure
        >>> from terrasynth.eval.copies.repetition import repetition
        >>> images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        >>> repetition(images[[0, 1, 2, 3, 3]], [HashMeasure()]).lines()[0]
        'identical images 2 of 5'
    """
    _check(images, labels, real, real_labels)
    ours, theirs, mix = np.arange(len(images)), np.arange(0), ANY_MIX
    if real is not None:
        ours, theirs, mix = _equal_numbers(len(images), labels, len(real), real_labels, seed)
    distances, found, near_pairs = [], [], []
    for measure in measures:
        whole = nearest_picture(measure, images)
        distances.append(SelfDistances(
            measure.name, measure.unit, float(whole.distance.min()), float(np.median(whole.distance))
        ))
        near_pairs += _pairs(measure.name, whole, pairs)
        if real is not None:
            chosen = [labels[row] for row in ours.tolist()] if labels is not None else None
            found.append(near_copies(
                measure, nearest_picture(measure, images[ours]), nearest_picture(measure, real[theirs]), chosen, None,
                seed,
            ))
    return Repetition(
        len(images), _identical(images), None if real is None else _identical(real[theirs]), len(theirs), mix, seed,
        tuple(distances), tuple(found), tuple(near_pairs),
    )


def _pairs(measure: str, nearest: Nearest, count: int) -> list[TwinPair]:
    """Each pair once, the nearest first."""
    found: dict[tuple[int, int], TwinPair] = {}
    for row in np.argsort(nearest.distance, kind="stable").tolist():
        other = int(nearest.index[row])
        pair = TwinPair(measure, row, other, int(nearest.view[row]), float(nearest.distance[row]))
        found.setdefault((min(row, other), max(row, other)), pair)
        if len(found) == count:
            break
    return list(found.values())


def _equal_numbers(
    n: int, labels: Sequence[str] | None, m: int, others: Sequence[str] | None, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], str]:
    """Rows of both sets, as many of each; of each class too, where labels are known and share one."""
    generator = np.random.default_rng(seed)
    if labels is not None and others is not None:
        ours, theirs = np.array(labels, dtype=np.str_), np.array(others, dtype=np.str_)
        rows: tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]] = [], []
        for name in np.unique(ours):
            both = [np.flatnonzero(own == name) for own in (ours, theirs)]
            count = min(map(len, both))
            for place, own in zip(rows, both, strict=True):
                place.append(generator.permutation(own)[:count])
        if sum(map(len, rows[0])) > 1:
            return np.sort(np.concatenate(rows[0])), np.sort(np.concatenate(rows[1])), SAME_MIX
    count = min(n, m)
    return np.sort(generator.permutation(n)[:count]), np.sort(generator.permutation(m)[:count]), ANY_MIX


def _identical(images: NDArray[np.uint8]) -> int:
    counts = Counter(pixel_hash(image) for image in images)
    return sum(count for count in counts.values() if count > 1)


def _check(
    images: NDArray[np.uint8], labels: Sequence[str] | None, real: NDArray[np.uint8] | None,
    real_labels: Sequence[str] | None,
) -> None:
    for what, pictures, own in (("images", images, labels), ("real images", real, real_labels)):
        if pictures is None:
            continue
        if len(pictures) < 2:
            raise InputError(f"{len(pictures)} {what}: a duplicate needs two; give more")
        if own is not None and len(own) != len(pictures):
            raise InputError(f"{len(pictures)} {what} and {len(own)} labels: give one for each")
    if real is not None and real.shape[1:3] != images.shape[1:3]:
        raise InputError(
            f"images of {images.shape[1:3]} and {real.shape[1:3]} px do not compare; bring all to one size"
        )
