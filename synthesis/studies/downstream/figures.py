"""What the trainings of `eval downstream` show: means, paired differences with intervals, and a verdict by rule.

A training gives a score for each test image. Two arms are compared image by image and seed by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.figure import FEW, STUDENT_95
from terrasynth.eval.metrics.intervals import NORMAL_95
from terrasynth.synthesis.studies.downstream.arms import (
    REAL,
    SHARES,
    SYNTHETIC,
    USEFULNESS,
    Comparison,
    Scale,
)

RESAMPLES = 2000
ADDED = 1 / 3
"""Of two images that are added to fewer than `FEW`, one so much above the mean and one as much below: where a few
images agree, which they do in most classes of ten, their own spread is far too small (0.80 to 0.94 of such intervals
held in simulations of binary scores; with these two 0.96 and more)."""

HELPS, HURTS, SAME, UNJUDGED = "helps", "hurts", "no difference shown", "not judged"
BETTER, WORSE = "better", "worse"

Floats = NDArray[np.float64]
Scores = NDArray[np.float64]
"""float64 (K, N): of each seed, of each test image; 0 to 1."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and test images with its 95 % interval.

    Attributes:
        low: Lower end; None with one seed, which says nothing about others.
        by_seed: The mean of each seed.
    """

    value: float
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else None

    def words(self, signed: bool = False) -> str:
        """Value and interval."""
        form = "+.3f" if signed else ".3f"
        if self.low is None or self.high is None:
            return f"{self.value:{form}} [one seed]"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


@dataclass(frozen=True)
class ArmFigure:
    """How one arm does.

    Attributes:
        amount: Of real training images, in percent or a class; 0 for `synthetic only`.
        n_real: Real images that it learned from, repetitions included.
        n_synthetic: Synthetic images that it learned from.
        n_val: Images that chose its checkpoint.
        metrics: Metric -> mean, the first being the one that is judged.
    """

    arm: str
    amount: float
    n_real: int
    n_synthetic: int
    n_val: int
    metrics: Mapping[str, Interval]


@dataclass(frozen=True)
class Difference:
    """One arm minus another, on the metric that is judged.

    Attributes:
        amount: Of real training images.
        verdict: By `verdict_of`.
    """

    amount: float
    arm: str
    against: str
    difference: Interval
    verdict: str


@dataclass(frozen=True)
class ClassDifference:
    """One arm minus another on the test images of one class: `by_class` of the comparison.

    Attributes:
        amount: Of real training images.
        real: The score of the other arm, as a rule `real only`.
    """

    amount: float
    label: str
    n: int
    real: float
    difference: Interval


def crossed_mean(scores: Scores, seed: int) -> Interval:
    """Mean over seeds and test images, with an interval that holds for other images and other seeds.

    The images are resampled with replacement, the same ones for all seeds. The seeds are too few for that: the range
    of three values holds their mean three times in four. They enter by Student's t with K - 1 degrees of freedom. What
    an image and a seed do together is in the spread of both; it is taken out of that of the images (the interaction
    of a two-way analysis of variance, one score a cell).

    Of fewer than `FEW` images resamples are too much alike. There the two variances are added, the images' with two
    more images (`ADDED`), and the interval is Student's with Satterthwaite's degrees of freedom (Biometrics 1946),
    rounded down; it rather is too wide.

    Args:
        scores: Of each seed and image, or differences of such.
    """
    by_seed, by_picture = scores.mean(1), scores.mean(0)
    value = float(scores.mean())
    seeds = tuple(float(each) for each in by_seed)
    if len(scores) < 2:
        return Interval(value, None, None, seeds)
    k, n = scores.shape
    together = scores - by_seed[:, None] - by_picture + value
    if n < FEW:
        half = _half_width_of_few(by_seed, by_picture, float(np.square(together).sum()))
        return Interval(value, value - half, value + half, seeds)
    own = max(0.0, by_picture.var() - np.square(together).sum() / ((k - 1) * k * n))
    pictures = (by_picture - value) * (own / by_picture.var()) ** 0.5 if own else np.zeros(n)
    generator = np.random.default_rng(seed)
    means = value + generator.multinomial(n, np.full(n, 1 / n), RESAMPLES) @ pictures / n
    error = float(by_seed.std(ddof=1)) / k**0.5
    low, high = np.quantile(means + error * generator.standard_t(k - 1, RESAMPLES), [0.025, 0.975])
    return Interval(value, float(low), float(high), seeds)


def _half_width_of_few(by_seed: Floats, by_picture: Floats, together: float) -> float:
    """Half of the interval's width, from the means by seed and by image and the sum of squares of the interaction."""
    k, n = len(by_seed), len(by_picture)
    spread = (np.square(by_picture - by_picture.mean()).sum() + 2 * ADDED**2) / (n + 1)
    pictures = max(0.0, spread - together / ((k - 1) * max(1, n - 1)) / k) / (n + 2)
    draws = float(by_seed.var(ddof=1)) / k
    if not pictures + draws:
        return 0.0
    freedom = int((pictures + draws) ** 2 / (pictures**2 / (n + 1) + draws**2 / (k - 1)))
    return float((STUDENT_95[freedom - 1] if freedom <= len(STUDENT_95) else NORMAL_95) * (pictures + draws) ** 0.5)


def verdict_of(difference: Interval, words: tuple[str, str] = (BETTER, WORSE)) -> str:
    """The first word if the interval lies above 0, the second if below, and else that no difference is shown.

    There is no verdict without an interval, and no difference is judged by one of width 0, which says nothing of other
    images and seeds.
    """
    if difference.low is None or difference.high is None or difference.low == difference.high != 0:
        return UNJUDGED
    return words[0] if difference.low > 0 else words[1] if difference.high < 0 else SAME


def differences(scores: Mapping[tuple[str, float], Scores], amounts: Sequence[float], seed: int,
                comparison: Comparison = USEFULNESS) -> list[Difference]:
    """All pairs of a comparison at each amount.

    Args:
        scores: (arm, amount) -> scores on the metric that is judged.
        amounts: Of real training images.
    """
    found = []
    for amount in amounts:
        for arm, against in comparison.pairs:
            difference = crossed_mean(_of(scores, arm, amount) - _of(scores, against, amount), seed)
            words = (HELPS, HURTS) if (arm, against) == (comparison.main, REAL) else (BETTER, WORSE)
            found.append(Difference(amount, arm, against, difference, verdict_of(difference, words)))
    return found


def class_differences(
    scores: Mapping[tuple[str, float], Scores], amounts: Sequence[float], labels: Sequence[str], seed: int,
    comparison: Comparison = USEFULNESS,
) -> list[ClassDifference]:
    """Which classes gain and which lose, at each amount.

    Args:
        scores: (arm, amount) -> scores on the metric that is judged.
        amounts: Of real training images.
        labels: The class of each test image.
    """
    names = np.array(labels, dtype=np.str_)
    found = []
    for amount in amounts:
        both, real = (_of(scores, arm, amount) for arm in comparison.by_class)
        for name in np.unique(names):
            own = names == name
            found.append(ClassDifference(amount, str(name), int(own.sum()), float(real[:, own].mean()),
                                         crossed_mean((both - real)[:, own], seed)))
    return found


def sentence(found: Sequence[Difference], amount: float, scale: Scale = SHARES,
             comparison: Comparison = USEFULNESS) -> str:
    """The verdicts at one amount in words."""
    own = {(each.arm, each.against): each for each in found if each.amount == amount}
    first = own[comparison.main, REAL]
    if first.verdict == UNJUDGED:
        return f"{scale.words(amount)}: not judged, since there is one seed ({first.difference.value:+.3f})"
    controls = ", ".join(f"{against} {own[comparison.main, against].verdict}" for against in comparison.controls)
    return f"{scale.words(amount)}: {first.verdict} ({first.difference.words(signed=True)}); against {controls}"


def stacked(scores: Mapping[tuple[str, float, int], Sequence[float]], amounts: Sequence[float],
            seeds: int, comparison: Comparison = USEFULNESS) -> dict[tuple[str, float], Scores]:
    """Scores by (arm, amount, seed) as one array (K, N) for each arm and amount."""
    places = [(arm, amount) for arm in comparison.arms if arm != SYNTHETIC for amount in amounts]
    places += [(SYNTHETIC, 0.0)] * (SYNTHETIC in comparison.arms)
    return {place: np.array([scores[*place, seed] for seed in range(seeds)], np.float64) for place in places}


def _of(scores: Mapping[tuple[str, float], Scores], arm: str, amount: float) -> Scores:
    return scores[arm, 0.0 if arm == SYNTHETIC else amount]
