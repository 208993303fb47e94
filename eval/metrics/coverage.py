"""Do the images lie among the real ones, and the real ones among them? Four shares over balls of neighbors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 5
BLOCK = 2048
"""Rows of the matrix of distances that are in memory at a time."""


@dataclass(frozen=True)
class Coverage:
    """Shares of images in balls around images; a ball reaches to the k-th nearest image of the same set.

    Attributes:
        precision: Share of the images that lie in the ball of a real one (Kynkaanniemi et al., NeurIPS 2019,
            equation 2). One outlier among the real images has a ball that takes in much.
        recall: Share of the real images that lie in the ball of a generated one (the same, equation 3).
        density: Mean number of real balls an image lies in, over k (Naeem et al., ICML 2020, equation 3); an outlier
            counts little. Around 1 for images like the real ones, and it may be larger.
        coverage: Share of the real images whose ball holds a generated one (the same, equation 4).
        n_reference: Real images.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    k: int
    n: int
    n_reference: int


def measure_coverage(
    features: NDArray[np.floating], reference: NDArray[np.floating], k: int = NEIGHBOURS
) -> Coverage:
    """Precision, recall, density and coverage. All of them depend on both numbers of images.

    An image on the very edge of a ball is outside, as in the code of Naeem et al.

    Args:
        features: Of the images (N, F), N > k.
        reference: Of the real images (M, F), M > k, of the same network.
        k: Neighbors, >= 1.

    Raises:
        ValueError: Widths that differ, or too few images.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import measure_coverage
        >>> real = np.random.default_rng(0).normal(size=(50, 8))
        >>> near, far = measure_coverage(real + 0.01, real), measure_coverage(real + 100, real)
        >>> (near.precision, near.coverage), (far.precision, far.coverage)
        ((1.0, 1.0), (0.0, 0.0))
    """
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        raise ValueError(
            f"features of shape {features.shape} and {reference.shape}: give (N, F) and (M, F) of one network"
        )
    if not 1 <= k < min(len(features), len(reference)):
        raise ValueError(f"the {k} nearest of {len(features)} and of {len(reference)} images: give more than {k}")
    # About the middle of the real images, distances lose fewest digits.
    middle = reference.mean(0, dtype=np.float64)
    own, real = features.astype(np.float64) - middle, reference.astype(np.float64) - middle
    own_radius, real_radius = _radii(own, k), _radii(real, k)
    balls = np.zeros(len(own), np.int64)
    recalled = np.zeros(len(real), np.bool_)
    covered = np.zeros(len(real), np.bool_)
    for start in range(0, len(own), BLOCK):
        columns = slice(start, start + BLOCK)
        for other in range(0, len(real), BLOCK):
            rows = slice(other, other + BLOCK)
            squared = _squared(real[rows], own[columns])
            inside = squared < real_radius[rows, None]
            balls[columns] += inside.sum(0)
            covered[rows] |= inside.any(1)
            recalled[rows] |= (squared < own_radius[None, columns]).any(1)
    return Coverage(
        precision=float((balls > 0).mean()), recall=float(recalled.mean()), density=float(balls.mean() / k),
        coverage=float(covered.mean()), k=k, n=len(own), n_reference=len(real),
    )


def _radii(values: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Squared distance of each row to its k-th nearest other row."""
    radii = np.empty(len(values))
    for start in range(0, len(values), BLOCK):
        rows = values[start : start + BLOCK]
        nearest = np.empty((len(rows), 0))
        for other in range(0, len(values), BLOCK):
            squared = _squared(rows, values[other : other + BLOCK])
            if other == start:
                np.fill_diagonal(squared, np.inf)
            nearest = np.concatenate([nearest, squared], axis=1)
            nearest = np.partition(nearest, k - 1, axis=1)[:, :k] if nearest.shape[1] > k else nearest
        radii[start : start + BLOCK] = nearest.max(1)
    return radii


def _squared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * (a @ b.T)
    return np.clip(squared, 0, None, out=squared)
