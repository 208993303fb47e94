"""The Frechet distance between two sets of features (Heusel et al., NeurIPS 2017), from streamed, mergeable moments.

Features come from whichever network the caller names; a distance without that name means nothing. A distance also
means nothing without its floor: two samples of the same pictures are not at zero, and the fewer they are the farther.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOOR_REPEATS = 10


class FeatureStatistics:
    """Count, mean and scatter of feature vectors, in one pass and `float64`.

    Statistics of parts merge to those of the whole (Chan, Golub & LeVeque 1983, equations 2.1a and 2.1b), so that
    memory does not grow with the number of pictures, and workers may each hold a part.

    Args:
        dim: Width F of the features.
    """

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.mean: NDArray[np.float64] = np.zeros(dim)
        self._scatter: NDArray[np.float64] = np.zeros((dim, dim))

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> FeatureStatistics:
        """Statistics of one array (N, F).

        Raises:
            ValueError: Not two-dimensional, or not finite.
        """
        if features.ndim != 2:
            raise ValueError(f"features: shape {features.shape}, where (N, F) is needed; flatten or pool them first")
        if not np.isfinite(features).all():
            raise ValueError("features: some are not finite; look for an overflow in the network's precision")
        statistics = cls(features.shape[1])
        if len(features):
            values = features.astype(np.float64)
            statistics.n = len(values)
            statistics.mean = values.mean(0)
            centred = values - statistics.mean
            statistics._scatter = centred.T @ centred
        return statistics

    def update(self, features: NDArray[np.floating]) -> None:
        """Take in one more batch (N, F).

        Raises:
            ValueError: Another width, not two-dimensional, or not finite.
        """
        merged = self.merge(FeatureStatistics.of(features))
        self.n, self.mean, self._scatter = merged.n, merged.mean, merged._scatter

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Statistics of both sets together; neither is changed.

        Raises:
            ValueError: The widths differ.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"features of width {len(self.mean)} and {len(other.mean)} do not merge; use one network")
        merged = FeatureStatistics(len(self.mean))
        merged.n = self.n + other.n
        if merged.n:
            difference = other.mean - self.mean
            merged.mean = self.mean + difference * (other.n / merged.n)
            between = np.outer(difference, difference) * (self.n * other.n / merged.n)
            merged._scatter = self._scatter + other._scatter + between
        return merged

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Unbiased covariance (F, F).

        Raises:
            ValueError: Fewer than two vectors were seen.
        """
        if self.n < 2:
            raise ValueError(f"covariance of {self.n} feature vectors: give at least two pictures")
        return self._scatter / (self.n - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Squared Frechet distance between the Gaussians of two sets (Dowson & Landau 1982, equation 16).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2). The product under the root is symmetric, so eigenvalues
    replace the matrix square root of A B, which is unstable where a covariance is singular.

    Args:
        a: Statistics of one set, n >= 2.
        b: Statistics of the other, of the same network.

    Returns:
        The distance, >= 0, in squared units of the features.

    Raises:
        ValueError: The widths differ, or a set has fewer than two vectors.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of width {len(a.mean)} and {len(b.mean)} do not compare; use one network for both")
    root = _symmetric_root(a.covariance)
    eigenvalues = np.linalg.eigvalsh(root @ b.covariance @ root)
    cross = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    difference = a.mean - b.mean
    distance = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross
    return max(0.0, float(distance))


@dataclass(frozen=True)
class FrechetFloor:
    """Distance between two random, disjoint samples of the same real pictures.

    Attributes:
        mean: Mean over the repeats.
        low: Smallest.
        high: Largest.
        n: Pictures in each of the two samples.
        repeats: Number of random splits.
        seed: Seed of the splits.
    """

    mean: float
    low: float
    high: float
    n: int
    repeats: int
    seed: int


def frechet_floor(
    features: NDArray[np.floating], seed: int, n: int | None = None, repeats: int = FLOOR_REPEATS
) -> FrechetFloor:
    """What the distance is between real pictures and other real pictures.

    Args:
        features: Real features (N, F).
        seed: Seed of the random splits.
        n: Pictures in each sample; by default half of what there is. The distance falls as n grows, so the floor
            belongs beside a distance between sets of about this size.
        repeats: Number of random splits.

    Raises:
        ValueError: Fewer than two pictures a sample, or more than there are.
    """
    n = len(features) // 2 if n is None else n
    if not 2 <= n <= len(features) // 2:
        raise ValueError(f"a floor of two samples of {n} from {len(features)} pictures: give 2 to {len(features) // 2}")
    generator = np.random.default_rng(seed)
    distances = []
    for _ in range(repeats):
        order = generator.permutation(len(features))
        halves = features[order[:n]], features[order[n : 2 * n]]
        distances.append(frechet_distance(*(FeatureStatistics.of(half) for half in halves)))
    return FrechetFloor(float(np.mean(distances)), min(distances), max(distances), n, repeats, seed)


def _symmetric_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root
