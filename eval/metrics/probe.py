"""A linear probe: multinomial logistic regression on features, with a ridge penalty.

It is convex, so the result depends on the data and the penalty alone. Features are standardized by the training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 200
TOLERANCE = 1e-6
NEWTON_WIDTH = 256

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Attributes:
        labels: The C classes, sorted.
        weight: float64 (D, C), for standardized features.
        bias: float64 (C,).
        mean: float64 (D,), of the training features.
        scale: float64 (D,), their standard deviation; 1 where it is 0.
    """

    labels: tuple[str, ...]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def logits(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Class scores (N, C) of features (N, D)."""
        return np.asarray((features - self.mean) / self.scale @ self.weight + self.bias)

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.str_]:
        """The most probable class of each row of features (N, D)."""
        chosen: NDArray[np.str_] = np.array(self.labels)[self.logits(features).argmax(1)]
        return chosen


def fit_probe(features: NDArray[np.floating], labels: Sequence[str], penalty: float = 1e-2,
              weights: NDArray[np.floating] | None = None) -> Probe:
    """Fit a probe, by Newton's method where there are two classes and few features, else by L-BFGS.

    Minimizes the weighted mean cross-entropy plus `penalty` / 2 times the squared weights, the bias left free.

    Args:
        features: float (N, D).
        labels: The class of each row; at least two different ones.
        penalty: Strength of the ridge penalty.
        weights: Weight of each row, (N,); None for equal ones.

    Raises:
        ValueError: Fewer than two classes, or numbers that do not match.
    """
    names = tuple(sorted(set(labels)))
    if len(names) < 2 or len(labels) != len(features):
        raise ValueError(f"{len(features)} rows with {len(labels)} labels of {len(names)} classes: a probe needs one "
                         "label per row and two classes")
    mean = features.mean(0, dtype=np.float64)
    scale = features.std(0, dtype=np.float64)
    scale[scale < 1e-12] = 1.0
    rows = ((features - mean) / scale).astype(np.float64)
    target = np.searchsorted(names, np.asarray(labels))
    share = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    share = share / share.sum()
    if len(names) == 2 and rows.shape[1] <= NEWTON_WIDTH:
        weight, bias = _newton(rows, target, share, penalty)
    else:
        weight, bias = _lbfgs(rows, target, share, penalty, len(names))
    return Probe(names, weight, bias, mean, scale)


def _newton(rows: Floats, target: NDArray[np.intp], share: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Two classes and few features: Newton's method on the difference of the two logits.

    With a penalty on both columns the best ones are opposite, so the penalty on their difference is half of it.
    """
    augmented = np.hstack([rows, np.ones((len(rows), 1))])
    ridge = np.full(augmented.shape[1], penalty / 2)
    ridge[-1] = 0.0
    beta = np.zeros(augmented.shape[1])

    def value(beta: Floats) -> float:
        logit = augmented @ beta
        return float(share @ (np.logaddexp(0, logit) - target * logit) + ridge @ beta**2 / 2)

    current = value(beta)
    for _ in range(STEPS):
        chance = 0.5 * (1 + np.tanh(augmented @ beta / 2))  # the logistic function, without overflow
        gradient = augmented.T @ (share * (chance - target)) + ridge * beta
        if np.abs(gradient).max() < TOLERANCE:
            break
        hessian = (augmented * (share * chance * (1 - chance))[:, None]).T @ augmented + np.diag(ridge + 1e-12)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while (changed := value(beta - size * step)) > current and size > 1e-6:
            size /= 2
        beta, current = beta - size * step, changed
    return np.stack([-beta[:-1], beta[:-1]], 1) / 2, np.array([-beta[-1], beta[-1]]) / 2


def _lbfgs(rows: Floats, target: NDArray[np.intp], share: Floats, penalty: float,
           classes: int) -> tuple[Floats, Floats]:
    import torch

    from terrasynth.eval.metrics.probes import solve

    inputs, wanted, shares = (torch.from_numpy(each)[None] for each in (rows, target, share))
    weight, bias = solve(inputs, wanted, shares, classes, penalty)
    return weight[0].numpy(), bias[0].numpy()


def cross_validated(features: NDArray[np.floating], labels: Sequence[str], folds: int = 5, seed: int = 0,
                    penalty: float = 1e-2) -> NDArray[np.bool_]:
    """Whether each row is recognized by a probe that did not see it, bool (N,).

    Args:
        features: float (N, D).
        labels: The class of each row, at least `folds` of each.
        folds: Parts of the data, each with an even share of every class.
        seed: Seed of the parts.
        penalty: See `fit_probe`.

    Raises:
        ValueError: A class with fewer rows than folds.
    """
    own = np.asarray(labels)
    part = np.empty(len(own), np.intp)
    random = np.random.default_rng(seed)
    for name in sorted(set(labels)):
        rows = np.flatnonzero(own == name)
        if len(rows) < folds:
            raise ValueError(f"class {name!r} has {len(rows)} rows, fewer than {folds} folds")
        part[random.permutation(rows)] = np.arange(len(rows)) % folds
    hits = np.empty(len(own), bool)
    for fold in range(folds):
        inside = part == fold
        probe = fit_probe(features[~inside], own[~inside].tolist(), penalty)
        hits[inside] = probe.predict(features[inside]) == own[inside]
    return hits
