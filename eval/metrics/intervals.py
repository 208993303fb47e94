"""Intervals for figures that are no means: from subsets without replacement, or from reweighted sums.

A bootstrap draws with replacement. A distance between sets, or anything that looks at nearest neighbors or at
eigenvalues, takes the repeated images for a smaller and narrower set: all resamples then lie on one side of the
figure. Subsets without replacement repeat nothing, and only their spread is used, not where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959963984540054


def subset_error(values: Sequence[float] | NDArray[np.float64], shares: Sequence[float]) -> float:
    """Standard error of a figure of whole sets, from its values on random subsets (delete-d jackknife).

    The variance over subsets that hold the share t of a set is (1 - t) / t times that of the whole (Shao & Wu, Annals
    of Statistics 1989). Where sets are cut to different shares, the least favorable one decides: the error is rather
    too large.

    Args:
        values: The figure on each subset; at least two.
        shares: The share of each set that a subset holds, between 0 and 1.

    Raises:
        ValueError: Fewer than two values, or a share that is not between 0 and 1.
    """
    if len(values) < 2 or not all(0 < share < 1 for share in shares):
        raise ValueError(f"{len(values)} subsets of shares {list(shares)}: give two subsets, shares between 0 and 1")
    return float(np.std(values, ddof=1) * max(np.sqrt(share / (1 - share)) for share in shares))


def normal_interval(value: float, error: float) -> tuple[float, float]:
    """The 95 % interval of a figure whose error is normal: 1.96 standard errors to either side."""
    return value - NORMAL_95 * error, value + NORMAL_95 * error


def half_sample_interval(
    value: float, statistic: Callable[..., float], sets: Sequence[NDArray[np.floating]], seed: int, repeats: int = 40
) -> tuple[float, float]:
    """The 95 % interval of a smooth figure of one or more sets, from random halves of each.

    Args:
        value: The figure of the whole sets.
        statistic: Takes as many arrays as there are sets.
        sets: Arrays whose rows are images, each of four at the least.
    """
    generator = np.random.default_rng(seed)
    sizes = [len(values) // 2 for values in sets]
    found = []
    for _ in range(repeats):
        parts = [values[generator.permutation(len(values))[:size]] for values, size in zip(sets, sizes, strict=True)]
        found.append(statistic(*parts))
    shares = [size / len(values) for values, size in zip(sets, sizes, strict=True)]
    return normal_interval(value, subset_error(found, shares))
