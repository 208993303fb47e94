"""The Frechet distance between two sets of features (Heusel et al., NeurIPS 2017), with its floor and its limit.

Features come from whichever network the caller names; a distance without that name means nothing. A distance also
means nothing without its floor: two samples of the same images are not at zero, and the fewer they are the farther.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.moments import FeatureStatistics

__all__ = [
    "FeatureStatistics", "FrechetFloor", "FrechetInfinity", "frechet_distance", "frechet_floor", "frechet_infinity",
    "frechet_of_features",
]

FLOOR_REPEATS = 10
INFINITY_POINTS = 15
INFINITY_SMALLEST = 0.5
"""Share of the images in the smallest sample of the extrapolation: far below it the bias is no line over 1/n."""


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Squared Frechet distance between the Gaussians of two sets (Dowson & Landau 1982, equation 16).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^1/2). With B = L L^T, the eigenvalues of A B are those of L^T A L, which is
    symmetric: real eigenvalues replace the matrix square root, which is slow, and unstable where a covariance is
    singular.

    Args:
        a: Statistics of one set, n >= 2.
        b: Statistics of the other, of the same network.

    Returns:
        The distance, >= 0, in squared units of the features.

    Raises:
        ValueError: The widths differ, or a set has fewer than two vectors.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import FeatureStatistics, frechet_distance
        >>> features = np.random.default_rng(0).normal(size=(100, 8))
        >>> moved = features + 1  # by 1 in each of 8 dimensions, with the same covariance
        >>> round(frechet_distance(FeatureStatistics.of(features), FeatureStatistics.of(moved)), 3)
        8.0
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of width {len(a.mean)} and {len(b.mean)} do not compare; use one network for both")
    covariance = a.covariance
    factor = _factor(b.covariance)
    eigenvalues = np.linalg.eigvalsh(factor.T @ covariance @ factor)
    cross = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    difference = a.mean - b.mean
    distance = difference @ difference + np.trace(covariance) + np.trace(b.covariance) - 2 * cross
    return max(0.0, float(distance))


def frechet_of_features(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """`frechet_distance` of two arrays of features, faster where there are fewer images than features.

    With centered features X and Y, the roots of the eigenvalues of A B are the singular values of X Y^T over
    ((N - 1) (M - 1))^1/2, a matrix as small as the sets are.

    Args:
        a: Features (N, F), N >= 2.
        b: Features (M, F), M >= 2.

    Raises:
        ValueError: Not two-dimensional, widths that differ, features that are not finite, or fewer than two vectors.
    """
    small = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1] and 2 <= min(len(a), len(b)) < a.shape[1]
    if not small or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))
    means = [values.mean(0, dtype=np.float64) for values in (a, b)]
    x, y = ((values - mean) / np.sqrt(len(values) - 1) for values, mean in zip((a, b), means, strict=True))
    difference = means[0] - means[1]
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return max(0.0, float(difference @ difference + np.square(x).sum() + np.square(y).sum() - 2 * cross))


@dataclass(frozen=True)
class FrechetFloor:
    """Distance between two random, disjoint samples of the same real images.

    Attributes:
        mean: Mean over the repeats.
        low: Smallest.
        high: Largest.
        n: Images in each of the two samples.
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
    """What the distance is between real images and other real images.

    Args:
        features: Real features (N, F).
        seed: Seed of the random splits.
        n: Images in each sample; by default half of what there is. The distance falls as n grows, so the floor
            belongs beside a distance between sets of about this size.
        repeats: Number of random splits.

    Raises:
        ValueError: Fewer than two images a sample, or more than there are.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import frechet_floor
        >>> floor = frechet_floor(np.random.default_rng(0).normal(size=(200, 8)), seed=0)
        >>> floor.n, 0 < floor.low < floor.mean < floor.high
        (100, True)
    """
    n = len(features) // 2 if n is None else n
    if not 2 <= n <= len(features) // 2:
        raise ValueError(f"a floor of two samples of {n} from {len(features)} images: give 2 to {len(features) // 2}")
    generator = np.random.default_rng(seed)
    distances = []
    for _ in range(repeats):
        order = generator.permutation(len(features))
        distances.append(frechet_of_features(features[order[:n]], features[order[n : 2 * n]]))
    return FrechetFloor(float(np.mean(distances)), min(distances), max(distances), n, repeats, seed)


@dataclass(frozen=True)
class FrechetInfinity:
    """The distance that endless samples would be at.

    Attributes:
        distance: Where the line meets 1/n = 0. It may lie below 0, by the noise of the fit.
        slope: Of the line over 1/n.
        fit: Share of the variance over the points that the line explains (R^2), 0 to 1. It is low where the bias is
            small beside the noise, and where the points lie on no line.
        points: Number of samples.
        both: Whether the reference was made smaller along with the images, so that its size is extrapolated too.
    """

    distance: float
    slope: float
    fit: float
    smallest: int
    n: int
    points: int
    both: bool
    seed: int


def frechet_infinity(
    features: NDArray[np.floating], reference: FeatureStatistics | NDArray[np.floating], seed: int,
    smallest: int | None = None, points: int = INFINITY_POINTS,
) -> FrechetInfinity:
    """Extrapolate the distance to endless samples (FD-infinity, Chong & Forsyth, CVPR 2020, section 4).

    The distance of n images is biased upwards by about a constant over n. Distances of random samples of growing
    size are fitted by a line over 1/n, and the line is read at 0.

    Args:
        features: Of the images to judge (N, F).
        reference: Statistics, which stay as they are, as in the paper: the distance then keeps the bias that the
            size of the reference brings. Or the features (M, F): samples of these shrink in proportion, and both
            biases go.
        seed: Of the samples; they are drawn without replacement.
        smallest: Images in the smallest sample, >= 2; by default half of them. The paper starts at 5,000 of 50,000
            Inception features; far below the width of the features the bias is no line over 1/n.
        points: Samples, of sizes evenly spaced from the smallest to N.

    Raises:
        ValueError: Fewer than two points or two images in the smallest sample, or nothing between it and N.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import FeatureStatistics, frechet_distance, frechet_infinity
        >>> drawn, real = np.random.default_rng(0).normal(size=(2, 400, 8))
        >>> found = frechet_infinity(drawn, real, seed=0)
        >>> found.distance < frechet_distance(FeatureStatistics.of(drawn), FeatureStatistics.of(real))
        True
    """
    n = len(features)
    smallest = max(2, round(n * INFINITY_SMALLEST)) if smallest is None else smallest
    if points < 2 or not 2 <= smallest < n:
        raise ValueError(f"{points} samples of {smallest} to {n} images: give 2 samples of 2 images at the least")
    generator = np.random.default_rng(seed)
    sizes = np.linspace(smallest, n, points).round().astype(int)
    distances = []
    for size in sizes:
        part = features[generator.permutation(n)[:size]]
        if isinstance(reference, FeatureStatistics):
            distances.append(frechet_distance(FeatureStatistics.of(part), reference))
        else:
            amount = max(2, round(len(reference) * size / n))
            real = reference[generator.permutation(len(reference))[:amount]]
            distances.append(frechet_of_features(part, real))
    found = np.array(distances)
    slope, limit = np.polyfit(1 / sizes, found, 1)
    left, spread = np.square(found - slope / sizes - limit).sum(), np.square(found - found.mean()).sum()
    fit = 1 - left / spread if spread > 0 else 1.0
    return FrechetInfinity(
        float(limit), float(slope), float(fit), int(sizes[0]), n, points,
        not isinstance(reference, FeatureStatistics), seed,
    )


def _factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """L (F, R) with L L^T = covariance: Cholesky's where it exists, else the eigenvectors that carry something."""
    try:
        return np.linalg.cholesky(covariance).astype(np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
        factor: NDArray[np.float64] = vectors[:, kept] * np.sqrt(values[kept])
        return factor
