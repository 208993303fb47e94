"""How far several people, or people and a filter, say the same of the same images: Cohen's kappa with its interval."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrasynth.eval.metrics.figure import Figure, wilson
from terrasynth.eval.metrics.intervals import normal_interval

MISSING = -1
"""A rating that was not given."""


def cohen_kappa(table: ArrayLike) -> Figure | None:
    """Agreement of two raters beyond what their habits give by chance (Cohen 1960, equation 1), with a 95 % interval.

    The interval is the value and 1.96 of its large-sample standard errors to either side (Fleiss, Cohen & Everitt 1969,
    equation 13). Where the two agree on all images, or on none, that error is 0, which says nothing of a few images:
    there it comes from Wilson's interval of the share on which they agree, the agreement by chance taken as it is.

    Args:
        table: Counts (K, K): images that the first rater put into category i and the second into j.

    Returns:
        Kappa, from -1 to 1, and how many images; None where one of the two puts all images into one category: whatever
        the other does, they then agree exactly as often as by chance.

    Raises:
        ValueError: It is not square, holds a negative count, or no image.
    """
    counts = np.asarray(table, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any() or not counts.sum():
        raise ValueError(f"a table of shape {counts.shape} with {counts.sum():g} images: give counts (K, K) of images")
    n = int(counts.sum())
    shares = counts / n
    first, second = shares.sum(1), shares.sum(0)
    agreed, chance = float(np.trace(shares)), float(first @ second)
    if not _both_tell_apart(counts):
        return None
    kappa = (agreed - chance) / (1 - chance)
    if np.trace(counts) in (0, n):
        low, high = ((end - chance) / (1 - chance) for end in wilson(agreed, n))
    else:
        low, high = normal_interval(kappa, _standard_error(shares, agreed, chance, n))
    return Figure(kappa, max(low, -1.0), min(high, 1.0), n)


def _standard_error(shares: NDArray[np.float64], agreed: float, chance: float, n: int) -> float:
    first, second = shares.sum(1), shares.sum(0)
    alike = np.diag(shares) * ((1 - chance) - (first + second) * (1 - agreed)) ** 2
    crossed = shares * (second[:, None] + first[None]) ** 2
    unlike = (1 - agreed) ** 2 * (crossed.sum() - np.trace(crossed))
    spread = alike.sum() + unlike - (agreed * chance - 2 * chance + agreed) ** 2
    return float(np.sqrt(max(spread, 0.0) / n) / (1 - chance) ** 2)


def agreement_table(one: ArrayLike, other: ArrayLike, categories: int = 2) -> NDArray[np.int64]:
    """Counts (K, K) of the images that both raters rated.

    Args:
        one: Ratings (N,), 0 to K - 1, or `MISSING`.
        other: Ratings (N,) of the same images.
        categories: K.
    """
    a, b = np.asarray(one, np.int64), np.asarray(other, np.int64)
    both = (a != MISSING) & (b != MISSING)
    return np.bincount(a[both] * categories + b[both], minlength=categories**2).reshape(categories, categories)


def mean_kappa(ratings: ArrayLike, categories: int = 2) -> Figure | None:
    """Agreement of several raters: the mean of Cohen's kappa over all pairs (Light 1971), with a 95 % interval.

    A pair counts where it has a kappa. Of two raters it is `cohen_kappa`; of more, the interval comes from leaving out
    each image in turn (the jackknife), or as there where nobody disagrees.

    Args:
        ratings: (N, R), of N images by R raters: 0 to K - 1, or `MISSING`.
        categories: K.

    Returns:
        The mean, and how many images two or more rated; None where no pair has a kappa.

    Raises:
        ValueError: Fewer than two raters.
    """
    given = np.asarray(ratings, np.int64)
    if given.ndim != 2 or given.shape[1] < 2:
        raise ValueError(f"ratings of shape {given.shape}: give images by two raters at least")
    given = given[(given != MISSING).sum(1) > 1]
    if not len(given):
        return None
    if given.shape[1] == 2:
        return cohen_kappa(agreement_table(given[:, 0], given[:, 1], categories))
    pairs = list(combinations(given.T, 2))
    tables = np.stack([agreement_table(a, b, categories) for a, b in pairs])
    value, n = _mean(tables), len(given)
    if value is None:
        return None
    if value == 1:
        chances = [_chance(table) for table in tables if _both_tell_apart(table)]
        low = (wilson(1.0, n)[0] - float(np.mean(chances))) / (1 - float(np.mean(chances)))
        return Figure(value, max(low, -1.0), 1.0, n)
    without = []
    for image in given:
        left = tables.copy()
        for place, (a, b) in enumerate(combinations(image, 2)):
            if MISSING not in (a, b):
                left[place, a, b] -= 1
        found = _mean(left)
        without.append(value if found is None else found)
    spread = np.array(without) - np.mean(without)
    low, high = normal_interval(value, float(np.sqrt((n - 1) / n * (spread**2).sum())))
    return Figure(value, max(low, -1.0), min(high, 1.0), n)


def _mean(tables: NDArray[np.int64]) -> float | None:
    kappas = [(np.trace(table) / table.sum() - chance) / (1 - chance)
              for table in tables if _both_tell_apart(table) for chance in [_chance(table)]]
    return float(np.mean(kappas)) if kappas else None


def _both_tell_apart(table: NDArray[np.int64] | NDArray[np.float64]) -> bool:
    """Whether each of the two raters uses more than one category."""
    return bool(min(np.count_nonzero(table.sum(1)), np.count_nonzero(table.sum(0))) > 1)


def _chance(table: NDArray[np.int64]) -> float:
    shares = table / table.sum()
    return float(shares.sum(1) @ shares.sum(0))
