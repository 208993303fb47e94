"""Inception score on the probabilities of a named classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.intervals import half_sample_interval

SPLITS = 10


@dataclass(frozen=True)
class InceptionScore:
    """How sure a classifier is of each image, and how many classes it sees in all.

    Attributes:
        score: From all images at once: 1 where every image looks the same to the classifier, at most the number of
            classes.
        low: Lower end of the 95 % interval, from random halves; the score itself where there are fewer than four
            images. A bootstrap resample has fewer different images, and scores lower than the whole.
        split_mean: Mean over disjoint random parts, as published figures have it; smaller parts score lower. None
            where there are fewer images than parts.
        split_spread: Standard deviation over the parts (with their number in its denominator, as in the code of
            Salimans et al.).
    """

    score: float
    low: float
    high: float
    split_mean: float | None
    split_spread: float | None
    splits: int
    n: int
    seed: int


def inception_score(probabilities: NDArray[np.floating], seed: int, splits: int = SPLITS) -> InceptionScore:
    """The exponential of the mean divergence of p(y | x) from p(y) (Salimans et al., NeurIPS 2016, section 4).

    Args:
        probabilities: (N, C), N >= 1, rows that sum to 1.
        splits: Parts, >= 1.

    Raises:
        ValueError: No images, rows that are no probabilities, or no part.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import inception_score
        >>> round(inception_score(np.eye(4), seed=0, splits=1).score, 3)  # each surely of another class
        4.0
        >>> round(inception_score(np.full((4, 4), 0.25), seed=0, splits=1).score, 3)  # nothing recognised
        1.0
    """
    if probabilities.ndim != 2 or not len(probabilities):
        raise ValueError(f"probabilities of shape {probabilities.shape}, where (N, C) with N of 1 or more is needed")
    if splits < 1:
        raise ValueError(f"{splits} splits: give at least one")
    values = probabilities.astype(np.float64)
    if (values < 0).any() or not np.allclose(values.sum(1), 1, atol=1e-3):
        raise ValueError("probabilities: some rows do not sum to 1; apply a softmax to the logits first")
    n, score = len(values), inception_score_of_all(values)
    low, high = half_sample_interval(score, inception_score_of_all, [values], seed) if n >= 4 else (score, score)
    low = max(1.0, low)
    mean, spread = None, None
    if n >= splits:
        parts = np.array_split(np.random.default_rng(seed).permutation(n), splits)
        found = [inception_score_of_all(values[part]) for part in parts]
        mean, spread = float(np.mean(found)), float(np.std(found))
    return InceptionScore(score, low, high, mean, spread, splits, n, seed)


def inception_score_of_all(probabilities: NDArray[np.floating]) -> float:
    """The score of probabilities (N, C) without parts."""
    values = probabilities.astype(np.float64)
    return float(np.exp(_entropy(values.mean(0)) - _entropy(values).mean()))


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    entropy: NDArray[np.float64] = -(probabilities * logarithms).sum(-1)
    return entropy
