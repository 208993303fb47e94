"""Does a generator repeat its training images? Distances to the nearest one, beside those of real held-out images.

A small distance alone says nothing: real chaparral lies next to real chaparral. So the distances of generated images
are read on the scale of images that are real, of the same classes and never trained on. Training saw all eight flips
and quarter turns of its images, so each image is compared in all eight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.measures import Measure, Nearest, nearest_picture, pixel_hash
from terrasynth.eval.copies.perceptual_hash import VIEWS, turned
from terrasynth.eval.errors import InputError
from terrasynth.eval.metrics.figure import FEW, Figure, share_of, wilson

LEVEL = 0.01
"""The share of real images that are nearer than the threshold, by construction."""

RESAMPLES = 1000
SAME_MIX = "as many of each class, by weight"
ANY_MIX = "classes as they come"
QUANTILES = (0.0, 0.01, 0.05, 0.5)


@dataclass(frozen=True)
class NearCopies:
    """How near images are to those of another set, by one measure, beside a null.

    Attributes:
        unit: Of the distances.
        threshold: Distance that at most `LEVEL` of the null's images fall below.
        share: Of the images, those nearer than that; the interval resamples images and null.
        null: The same share of the null's own images.
        crowded: Share that is nearer to its nearest training image than that one is to any other training image:
            1 - authenticity (Alaa et al., ICML 2022, section 4.3). None where there is no training set, and for a
            measure whose distances are coarse.
        null_crowded: The same of the null's images.
        quantiles: Level -> (distance of the images, of the null's images).
        per_class: Class -> (number nearer than the threshold, n).
        exact: False where an approximate index was asked.
    """

    measure: str
    unit: str
    network: Mapping[str, object]
    threshold: float
    share: Figure
    null: float
    crowded: Figure | None
    null_crowded: Figure | None
    quantiles: Mapping[str, tuple[float, float]]
    per_class: Mapping[str, tuple[int, int]]
    exact: bool


@dataclass(frozen=True)
class NearPair:
    """An image and its nearest training image.

    Attributes:
        measure: By which they are near.
        row: Of the image.
        view: How the image has to be turned to lie on the training image.
        distance: Between them.
        ratio: That distance, divided by the distance of the training image to its own nearest one. Where images
            are all alike it is about 1; for a copy it is about 0.
        near: Whether the distance is below the threshold.
    """

    measure: str
    row: int
    train_row: int
    view: int
    distance: float
    ratio: float
    near: bool


@dataclass(frozen=True)
class Memorisation:
    """What `memorisation` found.

    Attributes:
        n_train: Training images.
        n_held_out: Held-out real images, the null.
        held_out_copies: Held-out images that equal a training image in every pixel; they are no part of the null.
        exact_copies: Judged images that do, in any of the eight views.
        mix: Whether the null has the classes of the judged images, `SAME_MIX` or `ANY_MIX`.
        level: Share that defines the threshold.
        measures: One entry a measure.
        pairs: The nearest pairs of each measure, by ratio.
    """

    n: int
    n_train: int
    n_held_out: int
    held_out_copies: int
    exact_copies: int
    mix: str
    level: float
    seed: int
    measures: tuple[NearCopies, ...]
    pairs: tuple[NearPair, ...]

    def to_json(self) -> dict[str, object]:
        """Nested plain data, ready for `json.dump`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The figures for people."""
        head = (
            f"{self.n} images against {self.n_train} training images in 8 views; null: {self.n_held_out} held-out "
            f"real images, {self.mix}; seed {self.seed}"
        )
        copies = f"exact copies       {self.exact_copies} of {self.n}; left out of the null {self.held_out_copies}"
        return [head, copies, *(line for one in self.measures for line in _lines(one, self.level))]


def memorisation(
    images: NDArray[np.uint8], train: NDArray[np.uint8], held_out: NDArray[np.uint8], measures: Sequence[Measure], *,
    labels: Sequence[str] | None = None, held_out_labels: Sequence[str] | None = None, seed: int = 0, pairs: int = 16,
) -> Memorisation:
    """Compare distances to the nearest training image with those of real images that were not trained on.

    All images should have one size: a distance between a sharp and a blurred image is one of sharpness.

    Args:
        images: Judged images, `uint8` (N, H, W, 3).
        train: What the generator was trained on, `uint8` (M, H, W, 3), M >= 2.
        held_out: Real images that it was not trained on, `uint8` (K, H, W, 3).
        measures: How to compare; at least one.
        labels: The class of each judged image.
        held_out_labels: The class of each held-out image; with both, the null is weighted to the judged classes.
        pairs: How many of the nearest pairs of each measure to return.

    Raises:
        InputError: Too few images, or numbers that do not match.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import HashMeasure
        >>> from terrasynth.eval.copies.memorisation import memorisation
        >>> train, held_out = np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, 3), dtype=np.uint8)
        >>> found = memorisation(train[:3], train, held_out, [HashMeasure()])
        >>> found.n, found.exact_copies, found.held_out_copies
        (3, 3, 0)
    """
    _check(images, train, held_out, labels, held_out_labels)
    known = {pixel_hash(one) for one in train}
    equal = np.array([pixel_hash(one) in known for one in held_out])
    if equal.all():
        raise InputError(f"each of {len(held_out)} held-out images is a training image; give another split")
    null = held_out[~equal]
    null_labels = None
    if held_out_labels is not None:
        null_labels = [label for label, copy in zip(held_out_labels, equal, strict=True) if not copy]
    weights = class_weights(labels, null_labels)
    exact = np.zeros(len(images), bool)
    for view in range(VIEWS):
        exact |= np.array([pixel_hash(one) in known for one in turned(images, view)])
    found, near_pairs = [], []
    for measure in measures:
        described = next(iter(measure.views(train, 1)))
        ours, theirs = (nearest_picture(measure, part, described) for part in (images, null))
        met = np.unique(np.concatenate([ours.index, theirs.index]))
        gap = np.full(len(train), np.nan, np.float32)
        gap[met] = nearest_picture(measure, train[met], described, met).distance
        copies = near_copies(measure, ours, theirs, labels, weights, seed, gap)
        found.append(copies)
        ratio = ours.distance / np.maximum(gap[ours.index], 1e-6)
        near_pairs += [
            NearPair(measure.name, int(row), int(ours.index[row]), int(ours.view[row]), float(ours.distance[row]),
                     float(ratio[row]), bool(ours.distance[row] < copies.threshold))
            for row in np.argsort(ratio, kind="stable")[:pairs]
        ]
    mix = ANY_MIX if weights is None else SAME_MIX
    return Memorisation(
        len(images), len(train), len(null), int(equal.sum()), int(exact.sum()), mix, LEVEL, seed, tuple(found),
        tuple(near_pairs),
    )


def near_copies(
    measure: Measure, ours: Nearest, theirs: Nearest, labels: Sequence[str] | None,
    weights: NDArray[np.float64] | None, seed: int, gap: NDArray[np.float32] | None = None,
) -> NearCopies:
    """Share of images that are nearer than `LEVEL` of the null's are.

    Args:
        ours: Of the N judged images.
        theirs: Of the K images of the null.
        labels: The class of each judged image.
        weights: float64 (K,), how much each image of the null counts; None for equally.
        gap: Distance of each candidate that is anybody's nearest to its own nearest one; None for no such figure.
    """
    even = np.ones(len(theirs.distance)) if weights is None else weights
    threshold = _threshold(theirs.distance, even)
    near = ours.distance < threshold
    crowded = null_crowded = None
    if gap is not None and not measure.coarse:
        crowded = share_of(ours.distance < gap[ours.index])
        null_crowded = share_of(theirs.distance < gap[theirs.index])
    names = np.array(labels if labels is not None else [""] * len(near), dtype=np.str_)
    share = _interval(ours.distance, theirs.distance, even, seed)
    return NearCopies(
        measure.name, measure.unit, measure.identity(), threshold, share,
        float(even[theirs.distance < threshold].sum() / even.sum()), crowded, null_crowded,
        {f"{level:g}": (float(np.quantile(ours.distance, level)), float(np.quantile(theirs.distance, level)))
         for level in QUANTILES},
        {str(name): (int(near[names == name].sum()), int((names == name).sum())) for name in np.unique(names)},
        ours.exact and theirs.exact,
    )


def class_weights(labels: Sequence[str] | None, others: Sequence[str] | None) -> NDArray[np.float64] | None:
    """Weights float64 (K,) that give the others the class shares of `labels`; None where a class has no others."""
    if labels is None or others is None or not set(labels) <= set(others):
        return None
    wanted, there = np.array(labels, dtype=np.str_), np.array(others, dtype=np.str_)
    return np.array([(wanted == name).sum() / (there == name).sum() for name in there], np.float64)


def _threshold(distances: NDArray[np.float32], weights: NDArray[np.float64]) -> float:
    """The largest distance below which lies at most `LEVEL` of the weight."""
    order = np.argsort(distances, kind="stable")
    weight = np.cumsum(weights[order])
    place = int(np.searchsorted(weight, LEVEL * weight[-1] * (1 + 1e-9), side="right"))
    return float(distances[order[min(place, len(order) - 1)]])


def _interval(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], weights: NDArray[np.float64], seed: int
) -> Figure:
    """Share below the threshold; both sides are resampled, since the threshold rests on few images of the null."""
    generator = np.random.default_rng(seed)
    shares = []
    for _ in range(RESAMPLES):
        rows = generator.integers(len(theirs), size=len(theirs))
        if not weights[rows].any():
            continue
        threshold = _threshold(theirs[rows], weights[rows])
        shares.append((ours[generator.integers(len(ours), size=len(ours))] < threshold).mean())
    low, high = np.quantile(shares, [0.025, 0.975])
    share = float((ours < _threshold(theirs, weights)).mean())
    if len(ours) < FEW or share in (0, 1):  # no resample of few images, or of equal answers, tells how few they are
        least, most = wilson(share, len(ours))
        low, high = min(low, least), max(high, most)
    return Figure(share, float(low), float(high), len(ours))


def _lines(one: NearCopies, level: float) -> list[str]:
    middle = one.quantiles["0.5"]
    found = "" if one.exact else "; nearest by an approximate search"
    lines = [
        f"near copies        {one.share}; null {one.null:.3f}; nearer than {one.threshold:.4g} ({one.unit}), which "
        f"{level:.0%} of the null are; median {middle[0]:.4g}, null {middle[1]:.4g}; by {name_of(one)}{found}"
    ]
    if one.crowded is not None:
        lines.append(f"  nearer than any other training image: {one.crowded}; null {one.null_crowded}")
    return lines


def name_of(one: NearCopies) -> str:
    """The measure with the hash or revision of its network."""
    return f"{one.measure} {one.network.get('content') or one.network.get('revision') or ''}".strip()


def _check(
    images: NDArray[np.uint8], train: NDArray[np.uint8], held_out: NDArray[np.uint8], labels: Sequence[str] | None,
    held_out_labels: Sequence[str] | None,
) -> None:
    if not len(images) or len(train) < 2 or not len(held_out):
        raise InputError(f"{len(images)} images, {len(train)} training and {len(held_out)} held-out images: give "
                         "at least 1, 2 and 1")
    for what, pictures, own in (("images", images, labels), ("held-out images", held_out, held_out_labels)):
        if own is not None and len(own) != len(pictures):
            raise InputError(f"{len(pictures)} {what} and {len(own)} labels: give one for each")
    sizes = sorted({part.shape[1:3] for part in (images, train, held_out)})
    if len(sizes) > 1:
        raise InputError(f"images of {sizes[0]} and {sizes[-1]} px do not compare; bring all to one size")
