"""Distances between two sets of features by a kernel: KID and CMMD, both squared maximum mean discrepancies (MMD).

Gretton et al. (JMLR 2012) give two estimators. The unbiased one (lemma 6, equation 3) leaves out each image's kernel
with itself: its mean does not depend on the number of images, it is 0 for two samples of one distribution, and it
may be negative. The biased one (equation 5) leaves nothing out and is larger by about a constant over n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.intervals import normal_interval, subset_error

SUBSETS = 100
SUBSET_SIZE = 1000
SIGMA = 10.0
CMMD_SCALE = 1000.0
BLOCK = 2048
"""Rows of the kernel matrix that are in memory at a time; so many squared `float64`."""

Kernel = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class KernelDistance:
    """KID between two sets.

    Attributes:
        distance: Unbiased estimate from all images; it may lie below 0.
        low: Lower end of the 95 % interval, from the spread over the subsets
            (`terrasynth.eval.metrics.intervals.subset_error`).
        subset_mean: Mean over the subsets: what publications call KID.
        subset_spread: Standard deviation over the subsets: what they print behind it. It is not the error of the mean.
        subset_size: Images in a subset of either set.
        n_reference: Images of the second.
    """

    distance: float
    low: float
    high: float
    subset_mean: float
    subset_spread: float
    subset_size: int
    subsets: int
    n: int
    n_reference: int
    seed: int


def kid(
    a: NDArray[np.floating], b: NDArray[np.floating], seed: int, subset_size: int | None = None, subsets: int = SUBSETS
) -> KernelDistance:
    """Kernel Inception distance (Binkowski et al., ICLR 2018): unbiased MMD^2 with the kernel (x . y / F + 1)^3.

    Args:
        a: Features (N, F), N >= 4.
        b: Features (M, F) of the same network, M >= 4.
        seed: Of the subsets, which are drawn without replacement.
        subset_size: Images in a subset; by default 1,000, or half of the smaller set where that is less: subsets
            that are whole sets have no spread.

    Raises:
        ValueError: Widths that differ, too few images, or subsets that are larger than half of a set.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import kid
        >>> drawn, real = np.random.default_rng(0).normal(size=(2, 50, 8))
        >>> near, far = kid(drawn, real, seed=0), kid(drawn + 1, real, seed=0)
        >>> near.distance < far.low
        True
    """
    _check(a, b, 4)
    largest = min(len(a), len(b)) // 2
    size = min(SUBSET_SIZE, largest) if subset_size is None else subset_size
    if not 2 <= size <= largest or subsets < 2:
        raise ValueError(f"{subsets} subsets of {size} from {len(a)} and {len(b)} images: give at least 2 subsets of "
                         f"2 to {largest}")
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(subsets):
        parts = (values[np.sort(generator.permutation(len(values))[:size])] for values in (a, b))
        found.append(kid_of_all(*parts))
    distance = kid_of_all(a, b)
    error = subset_error(found, [size / len(a), size / len(b)])
    low, high = normal_interval(distance, error)
    return KernelDistance(
        distance, low, high, float(np.mean(found)), float(np.std(found, ddof=1)), size, subsets, len(a), len(b), seed
    )


def kid_of_all(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """The unbiased estimate of KID from all images, block by block.

    Args:
        a: Features (N, F), N >= 2.
        b: Features (M, F), M >= 2.

    Raises:
        ValueError: Widths that differ, or too few images.
    """
    _check(a, b, 2)
    width = a.shape[1]
    return _mmd(a, b, lambda x, y: (x @ y.T / width + 1) ** 3, biased=False)


def cmmd(a: NDArray[np.floating], b: NDArray[np.floating], biased: bool = True) -> float:
    """CMMD (Jayasumana et al., CVPR 2024): 1,000 times the MMD^2 of CLIP embeddings, Gaussian kernel of sigma 10.

    The paper's text has the unbiased estimator, its published code the biased one, and so have we by default, as its
    figures come from that code. The paper takes CLIP ViT-L/14 at 336 px; of another encoder's embeddings it is another
    number under the same name, so name the encoder.

    Args:
        a: Embeddings (N, D), N >= 2; they are brought to unit length here.
        b: Embeddings (M, D), M >= 2.
        biased: Whether an image is compared with itself too.

    Raises:
        ValueError: Widths that differ, too few images, or an embedding of length zero.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import cmmd
        >>> drawn, real = np.random.default_rng(0).normal(size=(2, 50, 8))
        >>> cmmd(drawn, real) < cmmd(drawn + 1, real)
        True
    """
    _check(a, b, 2)
    return CMMD_SCALE * _mmd(directions(a), directions(b), _gaussian, biased)


def _gaussian(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Less 1: kernels of unit vectors lie between 0.98 and 1, and a constant leaves every difference of means alone."""
    squared = np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * (x @ y.T)
    values: NDArray[np.float64] = np.expm1(-np.clip(squared, 0, None) / (2 * SIGMA**2))
    return values


def _mmd(a: NDArray[np.floating], b: NDArray[np.floating], kernel: Kernel, biased: bool) -> float:
    within = [_sum(values, None, kernel, biased) / (len(values) * (len(values) - (not biased))) for values in (a, b)]
    return float(sum(within) - 2 * _sum(a, b, kernel, biased) / (len(a) * len(b)))


def _sum(a: NDArray[np.floating], b: NDArray[np.floating] | None, kernel: Kernel, diagonal: bool) -> float:
    """Sum of the kernel over all pairs of a and b; of a and itself where b is None, with or without the diagonal."""
    total = 0.0
    for start in range(0, len(a), BLOCK):
        rows = a[start : start + BLOCK].astype(np.float64)
        others = a[start:] if b is None else b  # of a and itself one half, as the kernel is symmetric
        for other in range(0, len(others), BLOCK):
            values = kernel(rows, others[other : other + BLOCK].astype(np.float64))
            if b is None and other == 0:
                total += values.sum() - (0 if diagonal else np.trace(values))
            else:
                total += values.sum() * (1 if b is not None else 2)
    return total


def directions(rows: NDArray[np.floating], what: str = "embeddings") -> NDArray[np.float64]:
    """Rows (N, D) divided by their L2 norm.

    Raises:
        ValueError: A row has no direction.
    """
    values = rows.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"{what}: a row of length zero has no direction")
    unit: NDArray[np.float64] = values / lengths
    return unit


def _check(a: NDArray[np.floating], b: NDArray[np.floating], least: int) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features of shape {a.shape} and {b.shape}: give (N, F) and (M, F) of one network")
    if min(len(a), len(b)) < least:
        raise ValueError(f"{len(a)} and {len(b)} images: a kernel distance needs {least} of each at the least")
