"""How well two maps of classes agree: confusion and intersection over union (Everingham et al., IJCV 2010)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.figure import Figure

RESAMPLES = 2000
LEAST = 0.01
"""Share of an image that a class fills at least, to count in the score of one image."""


def confusion(truth: NDArray[np.integer], seen: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """How many pixels of each class are seen as each class, `int64` (C, C): row the truth, column what is seen.

    Args:
        truth: Classes from 0 to C - 1, of any shape.
        seen: The same, of the same shape.

    Raises:
        ValueError: The shapes differ, or a value is no class.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval.metrics.segmentation import confusion
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    if truth.shape != seen.shape:
        raise ValueError(f"maps of shape {truth.shape} and {seen.shape}; both have to show the same pixels")
    both = np.stack([truth.ravel(), seen.ravel()]).astype(np.int64)
    if both.size and not 0 <= both.min() <= both.max() < classes:
        raise ValueError(f"values from {both.min()} to {both.max()}; classes are 0 to {classes - 1}")
    return np.bincount(both[0] * classes + both[1], minlength=classes * classes).reshape(classes, classes)


def intersection_over_union(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Of each class, float64 (C,), of a confusion (C, C); NaN where a class is neither there nor seen.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval.metrics.segmentation import intersection_over_union
        >>> intersection_over_union(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])).tolist()
        [0.5, 0.5, nan]
    """
    both = np.diag(counts).astype(np.float64)
    either = counts.sum(0) + counts.sum(1) - both
    found: NDArray[np.float64] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
    return found


def mean_iou(counts: NDArray[np.integer], seed: int) -> Figure:
    """Mean intersection over union of the classes that are there, over all pixels of N images, with a 95 % interval.

    The interval is the percentile interval of a bootstrap of images (Efron & Tibshirani 1993, section 13.3). A class of
    which a resample has no pixel is left out there.

    Args:
        counts: `int64` (N, C, C), a confusion for each image.

    Raises:
        ValueError: There is no image.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval.metrics.segmentation import mean_iou
        >>> str(mean_iou(np.array([[[2, 0], [0, 2]]] * 8), seed=0))
        '1.000 [1.000, 1.000] (n = 8)'
    """
    if not len(counts):
        raise ValueError("no image, so nothing to average; give at least one")
    there = counts.sum((0, 2)) > 0
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    resampled = np.einsum("rn,nij->rij", weights, counts)
    means = [_mean(each, there) for each in resampled]
    low, high = np.nanquantile(means, [0.025, 0.975])
    return Figure(_mean(counts.sum(0), there), float(low), float(high), len(counts))


def image_scores(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Of each image, the mean intersection over union of the classes that fill at least `LEAST` of its truth.

    Args:
        counts: Confusions (N, C, C), a row a class of the truth.

    Returns:
        float64 (N,); NaN where a confusion has no pixel.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval.metrics.segmentation import image_scores
        >>> image_scores(np.array([[[2, 2], [0, 4]], [[0, 0], [0, 0]]])).round(3).tolist()
        [0.583, nan]
    """
    truth, seen, both = counts.sum(2), counts.sum(1), np.diagonal(counts, axis1=1, axis2=2)
    there = (truth > 0) & (truth >= LEAST * truth.sum(1, keepdims=True))
    found = np.divide(both, truth + seen - both, out=np.zeros(both.shape), where=there)
    number = there.sum(1)
    means: NDArray[np.float64] = np.divide(found.sum(1), number, out=np.full(len(counts), np.nan), where=number > 0)
    return means


def _mean(counts: NDArray[np.integer], there: NDArray[np.bool_]) -> float:
    own = there & (counts.sum(1) > 0)
    return float(intersection_over_union(counts)[own].mean()) if own.any() else float("nan")
