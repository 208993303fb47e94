"""Is what a filter keeps better than a random keep at the same rate? A permutation test within classes.

A filter that looks at nothing also gives a smaller set, and a smaller set has other figures. So the kept set is
compared with many random sets of the same number of images of each class. Under the null, that the filter's choice
within a class has nothing to do with what is measured, the kept set is one more of these (Phipson & Smyth, Stat. Appl.
Genet. Mol. Biol. 2010, equation 2, gives the p-value).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance

LEVEL = 0.05
USEFUL, USELESS, HARMFUL, MIXED = "useful", "useless", "harmful", "mixed"
UNJUDGED = "not judged"
BETTER, WORSE, SAME, NOT_COUNTED = "better", "worse", "no different", "not counted"
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class KeepMetric:
    """One figure of a set of images.

    Attributes:
        higher_is_better: Otherwise lower is.
        of: Mask (N,) of a set to its figure.
        counted: Whether the verdict looks at it.
        note: Why it is not counted, or what else is to be said.
    """

    name: str
    network: str
    higher_is_better: bool
    of: Callable[[Mask], float]
    counted: bool = True
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """A figure of the kept set beside those of random keeps.

    Attributes:
        higher_is_better: Otherwise lower is.
        counted: Whether the verdict looks at it.
        note: As in `KeepMetric`.
        all: The figure of all images; with more images than the kept set has, it does not compare where a figure
            depends on their number.
        kept: Of the kept set.
        random_mean: Mean over the random keeps.
        random_low: Their 2.5 % quantile.
        random_high: Their 97.5 % quantile.
        p: Two-sided p-value of the kept set among the random ones.
        p_holm: The same after the correction of Holm (Scand. J. Stat. 1979) over the counted metrics; None if not
            counted.
        better: Whether the kept set is on the better side of the random mean.
    """

    name: str
    network: str
    higher_is_better: bool
    counted: bool
    note: str
    all: float
    kept: float
    random_mean: float
    random_low: float
    random_high: float
    p: float
    p_holm: float | None
    better: bool

    @property
    def different(self) -> bool:
        """Whether it counts, is no chance, and was compared with random keeps that differ among themselves."""
        return self.p_holm is not None and self.p_holm < LEVEL and self.random_low < self.random_high

    @property
    def outcome(self) -> str:
        """The comparison in words; of one that does not count, only where it points."""
        if self.p_holm is None:
            return NOT_COUNTED
        return (BETTER if self.better else WORSE) if self.different else SAME


def fewest_repeats(metrics: int) -> int:
    """Random keeps below which not even the most extreme figure of so many metrics could be called no chance."""
    return int(2 * metrics / LEVEL)


def compare_with_random(
    kept: Mask, labels: Sequence[str], metrics: Sequence[KeepMetric], repeats: int, seed: int
) -> list[Comparison]:
    """Compare a kept set with random keeps of as many images of each class.

    Args:
        kept: (N,), the set; at least one image.
        labels: The class of each image.
        repeats: Random keeps.

    Returns:
        One a metric, but for those that are NaN of the kept set: they do not exist for so few images of a class, so
        of no random keep either.

    Raises:
        ValueError: Too few repeats for any verdict.
    """
    measured = [(metric, metric.of(kept)) for metric in metrics]
    metrics = [metric for metric, value in measured if not np.isnan(value)]
    counted = sum(metric.counted for metric in metrics)
    if repeats < fewest_repeats(counted):
        raise ValueError(f"{repeats} random keeps of {counted} metrics: give {fewest_repeats(counted)} at the least")
    generator = np.random.default_rng(seed)
    names = np.array(labels, dtype=np.str_)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    null: NDArray[np.float64] = np.empty((repeats, len(metrics)))
    for row in null:
        drawn = np.zeros(len(kept), np.bool_)
        for member in members:
            drawn[generator.choice(member, int(kept[member].sum()), replace=False)] = True
        row[:] = [metric.of(drawn) for metric in metrics]
    everything = np.ones(len(kept), np.bool_)
    found = [
        _comparison(metric, metric.of(everything), metric.of(kept), null[:, place])
        for place, metric in enumerate(metrics)
    ]
    return _holm(found)


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Better on a counted metric and worse on none, the reverse, both, or no difference at all.

    It looks at nothing but the outcomes that are shown. Without any that counts there is no verdict: `UNJUDGED`.
    """
    outcomes = {each.outcome for each in comparisons} - {NOT_COUNTED}
    if not outcomes:
        return UNJUDGED
    known = {(True, False): USEFUL, (False, True): HARMFUL, (True, True): MIXED, (False, False): USELESS}
    return known[BETTER in outcomes, WORSE in outcomes]


def mean_of(values: NDArray[np.floating] | NDArray[np.bool_]) -> Callable[[Mask], float]:
    """The mean of a value an image (N,) over a set."""
    return lambda mask: float(values[mask].mean(dtype=np.float64))


def frechet_of(features: NDArray[np.floating], real: NDArray[np.floating]) -> Callable[[Mask], float]:
    """The Frechet distance of a set to real features (M, F); NaN for fewer than two images."""
    reference = FeatureStatistics.of(real)

    def distance(mask: Mask) -> float:
        if mask.sum() < 2:
            return float("nan")
        return frechet_distance(reference, FeatureStatistics.of(features[mask]))

    return distance


def coverage_of(features: NDArray[np.floating], real: NDArray[np.floating], k: int = 5) -> Callable[[Mask], float]:
    """Coverage (Naeem et al., ICML 2020, equation 10) of real features (M, F) by a set.

    The share of real images that have an image of the set closer than their own k-th nearest real neighbor.
    """
    among = _squared_distances(real, real)
    np.fill_diagonal(among, np.inf)
    radius = np.partition(among, k - 1, axis=1)[:, k - 1]
    inside = _squared_distances(real, features) <= radius[:, None]
    return lambda mask: float(inside[:, mask].any(1).mean())


def distance_within_of(features: NDArray[np.floating], labels: Sequence[str]) -> Callable[[Mask], float]:
    """Mean of 1 - cosine over all pairs of images of the same class in a set; NaN where there is no pair."""
    names = np.array(labels, dtype=np.str_)
    members = [names == name for name in np.unique(names)]
    rows = features.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def distance(mask: Mask) -> float:
        total, pairs = 0.0, 0
        for member in members:
            chosen = unit[member & mask]
            n = len(chosen)
            total += float(np.square(chosen.sum(0)).sum()) - n
            pairs += n * (n - 1)
        return 1 - total / pairs if pairs else float("nan")

    return distance


def _squared_distances(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.float64]:
    a, b = left.astype(np.float64), right.astype(np.float64)
    squares: NDArray[np.float64] = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * (a @ b.T)
    return np.clip(squares, 0, None)


def _comparison(metric: KeepMetric, everything: float, kept: float, null: NDArray[np.float64]) -> Comparison:
    n = len(null)
    equal = np.isclose(null, kept, rtol=1e-9, atol=1e-12)  # sums in another order are no difference
    above = (1 + int(((null > kept) | equal).sum())) / (n + 1)
    below = (1 + int(((null < kept) | equal).sum())) / (n + 1)
    low, high = np.quantile(null, [0.025, 0.975])
    mean = float(null.mean())
    return Comparison(
        name=metric.name, network=metric.network, higher_is_better=metric.higher_is_better, counted=metric.counted,
        note=metric.note, all=everything, kept=kept, random_mean=mean, random_low=float(low), random_high=float(high),
        p=min(1.0, 2 * min(above, below)), p_holm=None, better=(kept > mean) == metric.higher_is_better,
    )


def _holm(found: Sequence[Comparison]) -> list[Comparison]:
    ordered = sorted((each.p, place) for place, each in enumerate(found) if each.counted)
    corrected: Mapping[int, float] = {}
    highest = 0.0
    for rank, (p, place) in enumerate(ordered):
        highest = max(highest, min(1.0, p * (len(ordered) - rank)))
        corrected = {**corrected, place: highest}
    return [replace(each, p_holm=corrected.get(place)) for place, each in enumerate(found)]
