"""How different the images of a set are from one another, on features of a named network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.kernel_distances import directions


def vendi_score(features: NDArray[np.floating]) -> float:
    """Effective number of different images (Friedman & Dieng, TMLR 2023): exp of the entropy of K / N's eigenvalues.

    K are the cosines of all pairs. The eigenvalues that are not zero are those of X^T X / N as well, so that the cost
    grows with the smaller of N and F.

    Args:
        features: float (N, F), N >= 1, no row of length zero.

    Returns:
        1 where all images are the same, N where all are orthogonal; it grows with N, so compare at equal N.

    Raises:
        ValueError: No features, or a row of length zero.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import vendi_score
        >>> round(vendi_score(np.eye(4)), 3), round(vendi_score(np.ones((4, 4))), 3)
        (4.0, 1.0)
    """
    unit = _unit(features)
    matrix = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    eigenvalues = np.linalg.eigvalsh(matrix / len(unit))
    shares = eigenvalues[eigenvalues > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_pairwise_distance(features: NDArray[np.floating]) -> float:
    """Mean of 1 - cosine over all pairs of different rows, in linear time.

    Args:
        features: float (N, F), N >= 2, no row of length zero.

    Raises:
        ValueError: Fewer than two rows, or a row of length zero.
    """
    unit = _unit(features)
    n = len(unit)
    if n < 2:
        raise ValueError("a distance between images needs two of them")
    total = np.square(unit.sum(0)).sum() - n  # the sum of the cosines without each row's own
    return float(1 - total / (n * (n - 1)))


def mean_distance_within(features: NDArray[np.floating], labels: Sequence[str]) -> float:
    """`mean_pairwise_distance` within each class that has two images, averaged over those classes.

    Raises:
        ValueError: No class has two, or a row has length zero.
    """
    names = np.array(labels, dtype=np.str_)
    classes, counts = np.unique(names, return_counts=True)
    found = [mean_pairwise_distance(features[names == name]) for name in classes[counts > 1]]
    if not found:
        raise ValueError("a distance within classes needs a class of two images")
    return float(np.mean(found))


def _unit(features: NDArray[np.floating]) -> NDArray[np.float64]:
    if features.ndim != 2 or not len(features):
        raise ValueError(f"features: shape {features.shape}, where (N, F) with N of 1 or more is needed")
    return directions(features, "features")
