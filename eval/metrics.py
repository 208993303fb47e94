"""Figures with an interval and a null: accuracy, and alignment beside that of shuffled texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from eval.intervals import NORMAL_95

BOOTSTRAP_RESAMPLES = 2000
SAME_PICTURES = "texts of other pictures"
OTHER_CLASSES = "texts of other classes"


@dataclass(frozen=True)
class Figure:
    """A mean, or a share, with its 95 % interval.

    Attributes:
        value: Mean of the sample.
        low: Lower end.
        high: Upper end.
        n: Sample size.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"


def bootstrap_mean(
    values: NDArray[np.floating] | NDArray[np.bool_], seed: int, resamples: int = BOOTSTRAP_RESAMPLES
) -> Figure:
    """Mean of independent values (N,), with the percentile interval of the bootstrap.

    Efron & Tibshirani 1993, section 13.3. Where all values are equal, the interval is a point: for the share of true
    ones there is `share_of`.

    Raises:
        ValueError: There are no values.
    """
    if not len(values):
        raise ValueError("a mean of no values: give at least one")
    sample = values.astype(np.float64)
    generator = np.random.default_rng(seed)
    means = [sample[generator.integers(len(sample), size=len(sample))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(float(sample.mean()), float(low), float(high), len(sample))


def share(hits: int, n: int) -> Figure:
    """A share with its 95 % score interval (Wilson, JASA 1927), which is no point where all or none of a few are hits.

    Args:
        hits: How many.
        n: Of how many, at least one.
    """
    if not 0 <= hits <= n or not n:
        raise ValueError(f"{hits} of {n}: give at least one, and no more hits than that")
    z2 = NORMAL_95**2
    middle = (hits + z2 / 2) / (n + z2)
    half = NORMAL_95 / (n + z2) * sqrt(hits * (n - hits) / n + z2 / 4)
    return Figure(hits / n, max(0.0, middle - half), min(1.0, middle + half), n)


def share_of(hits: NDArray[np.bool_]) -> Figure:
    """The share of true values among independent ones (N,), N >= 1, with its interval as `share` gives it."""
    return share(int(hits.sum()), len(hits))


def derangement(labels: Sequence[str], seed: int) -> tuple[NDArray[np.intp], str] | None:
    """A random pairing of every sample with another one, of another class wherever that is possible.

    Samples are laid out class by class in random order and shifted by the size of the largest class: then no class
    meets itself, unless one holds more than half of the samples.

    Args:
        labels: The class of each of N samples.
        seed: Decides the order.

    Returns:
        Partner of each sample (N,), and which null this is (`OTHER_CLASSES` or `SAME_PICTURES`); None for N < 2.
    """
    n = len(labels)
    if n < 2:
        return None
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(n)
    names, codes, counts = np.unique(np.array(labels, dtype=np.str_), return_inverse=True, return_counts=True)
    if counts.max() <= n // 2:
        rank = generator.permutation(len(names))[codes]
        order, shift, kind = shuffled[np.argsort(rank[shuffled], kind="stable")], int(counts.max()), OTHER_CLASSES
    else:
        order, shift, kind = shuffled, 1, SAME_PICTURES
    partner = np.empty(n, np.intp)
    partner[order] = np.roll(order, -shift)
    return partner, kind


def per_class_accuracy(hits: NDArray[np.bool_], labels: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Share of hits and number of samples of each class, in name order."""
    names = np.array(labels, dtype=np.str_)
    return {
        str(name): (float(hits[names == name].mean()), int((names == name).sum())) for name in np.unique(names)
    }
