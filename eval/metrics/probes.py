"""Many linear probes at once: one L-BFGS for a stack of multinomial logistic regressions of the same shape.

A single probe of a few hundred rows (`eval.metrics.probe`) takes its time for the overhead of a step, not for its
arithmetic. Studies fit thousands, of equal numbers of rows, so their steps are taken side by side. Each problem has its
own steps and step lengths: what is stacked beside it decides nothing but the last digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

STEPS = 300
TOLERANCE = 1e-6, 1e-4
"""Largest derivative of the mean loss at which a problem counts as solved, in double and in single precision."""

HISTORY = 8
EVEN = 1e-6
"""Standard deviation of a feature that is the same in all rows."""

ARMIJO, HALVINGS = 1e-4, 20
MEMORY = 2**25
"""Numbers of the largest stack of rows that is made at once: 128 MiB of single precision."""


@dataclass(frozen=True)
class Probes:
    """B fitted probes.

    Attributes:
        weight: (B, D, C), for features as they come; of the type that they were computed in.
        bias: (B, C).
    """

    weight: NDArray[np.floating]
    bias: NDArray[np.floating]

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.intp]:
        """The place of the most probable class, (B, N), of features (N, D), which are the same for all."""
        logits = np.matmul(features.astype(self.weight.dtype)[None], self.weight) + self.bias[:, None]
        return np.asarray(logits.argmax(2))


def fit_probes(features: NDArray[np.floating], rows: NDArray[np.intp], target: NDArray[np.intp], classes: int,
               penalty: float, weights: NDArray[np.floating] | None = None) -> Probes:
    """Fit B probes, each on N rows of one array of features.

    Each minimizes the weighted mean cross-entropy plus `penalty` / 2 times the squared weights on features that are
    standardized by its own weighted rows; the bias is left free. That is `eval.metrics.probe.fit_probe` but for the
    standardization, which there does not heed the weights.

    Args:
        features: float64 (M, D), or float32, in which it is computed then: several times as fast, and the same to
            about three digits of a logit.
        rows: (B, N), which rows of `features` each probe learns from; equal rows are the same as a larger weight.
        target: (M,), the place of the class of each row of `features`, 0 to `classes` - 1.
        classes: Their number C; a class without rows is hardly ever chosen.
        penalty: Strength of the ridge penalty, above 0.
        weights: (B, N), not below 0 and not all 0; None for equal ones.

    Raises:
        ValueError: Shapes that do not match, or a penalty that is not above 0.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval.metrics.probes import fit_probes
        >>> features = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> found = fit_probes(features, np.array([[0, 1, 2, 3], [0, 3, 0, 3]]), np.array([0, 0, 1, 1]), 2, 0.1)
        >>> found.predict(np.array([[-3.0], [0.5]])).tolist()
        [[0, 1], [0, 1]]
    """
    shares = np.ones(rows.shape) if weights is None else np.asarray(weights, np.float64)
    if rows.ndim != 2 or shares.shape != rows.shape or len(target) != len(features):
        raise ValueError(f"rows {rows.shape}, weights {shares.shape}, {len(features)} features and {len(target)} "
                         "targets: give (B, N) rows and weights, and a target for each row of features")
    if not penalty > 0:
        raise ValueError(f"penalty {penalty}: it has to be above 0, as features that set classes apart have no best "
                         "weights without one")
    count, width = rows.shape[1], features.shape[1]
    at_once = max(1, MEMORY // (count * width))
    parts = [
        _fit(features, rows[start : start + at_once], target, classes, penalty, shares[start : start + at_once])
        for start in range(0, len(rows), at_once)
    ]
    return Probes(np.concatenate([one.weight for one in parts]), np.concatenate([one.bias for one in parts]))


def _fit(features: NDArray[np.floating], rows: NDArray[np.intp], target: NDArray[np.intp], classes: int,
         penalty: float, weights: NDArray[np.float64]) -> Probes:
    import torch

    dtype = np.float32 if features.dtype == np.float32 else np.float64
    share = torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(dtype))
    inputs = torch.from_numpy(features[rows].astype(dtype, copy=False))
    mean = torch.einsum("bn,bnd->bd", share, inputs)
    inputs -= mean[:, None]
    scale = torch.einsum("bn,bnd->bd", share, inputs.square()).sqrt()
    scale[scale < EVEN] = 1.0
    inputs /= scale[:, None]
    weight, bias = solve(inputs, torch.from_numpy(target[rows]), share, classes, penalty)
    weight = weight / scale[:, :, None]
    return Probes(weight.numpy(), (bias - torch.einsum("bd,bdc->bc", mean, weight)).numpy())


def solve(inputs: torch.Tensor, target: torch.Tensor, share: torch.Tensor, classes: int,
          penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimize B penalized cross-entropies.

    Args:
        inputs: (B, N, D), of the type that is computed in.
        target: int64 (B, N), 0 to C - 1.
        share: (B, N), the weight of each row; those of a problem sum to 1.
        classes: C.
        penalty: See `fit_probes`.

    Returns:
        Weights (B, D, C) and bias (B, C).
    """
    import torch

    basis = None
    if inputs.shape[1] < inputs.shape[2]:
        # The best weights lie in the span of the rows, and there are fewer coordinates in it.
        basis, factor = torch.linalg.qr(inputs.transpose(1, 2))
        inputs = factor.transpose(1, 2).contiguous()
    solved = _solve(inputs, target, share, classes, penalty)
    return solved[:, :-1] if basis is None else basis @ solved[:, :-1], solved[:, -1]


def _solve(inputs: torch.Tensor, target: torch.Tensor, share: torch.Tensor, classes: int,
           penalty: float) -> torch.Tensor:
    """Weights and, in the last row, bias (B, D + 1, C): L-BFGS (Nocedal & Wright 2006, algorithm 7.5)."""
    import torch

    tolerance = TOLERANCE[inputs.dtype == torch.float32]
    count, _, width = inputs.shape
    solved = torch.zeros(count, width + 1, classes, dtype=inputs.dtype)
    active = torch.arange(count)
    here = solved.clone()
    wanted = torch.nn.functional.one_hot(target, classes).to(inputs.dtype)
    value, slope = _loss(here, inputs, wanted, share, penalty)
    stuck = torch.zeros(count, dtype=torch.bool)
    steps: list[torch.Tensor] = []
    turns: list[torch.Tensor] = []
    for _ in range(STEPS):
        going = (slope.abs().amax((1, 2)) > tolerance) & ~stuck
        if not going.all():
            solved[active] = here
            if not going.any():
                return solved
            active, here, value, slope, stuck = (each[going] for each in (active, here, value, slope, stuck))
            inputs, wanted, share = inputs[going], wanted[going], share[going]
            steps, turns = [each[going] for each in steps], [each[going] for each in turns]
        direction = -_inverse(slope, steps, turns)
        down = (direction * slope).sum((1, 2))
        length = torch.ones(len(here), dtype=here.dtype) if steps else 1 / slope.abs().sum((1, 2)).clamp_min(1.0)
        for _ in range(HALVINGS):
            there = here + length[:, None, None] * direction
            changed, turned = _loss(there, inputs, wanted, share, penalty)
            # Where a step changes less than rounding does, its value says nothing more, and the problem is solved.
            stuck = (length * down).abs() < torch.finfo(here.dtype).eps * value.abs()
            short = (changed <= value + ARMIJO * length * down) | stuck
            if short.all():
                break
            length = torch.where(short, length, length / 2)
        steps, turns = [*steps, there - here][-HISTORY:], [*turns, turned - slope][-HISTORY:]
        here, value, slope = there, changed, turned
    solved[active] = here
    return solved


def _loss(point: torch.Tensor, inputs: torch.Tensor, wanted: torch.Tensor, share: torch.Tensor,
          penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Value (B,) and derivative, shaped as the point."""
    import torch

    weight = point[:, :-1]
    logits = torch.baddbmm(point[:, -1:], inputs, weight)
    log_odds = logits - logits.logsumexp(2, keepdim=True)
    value = -(share * (wanted * log_odds).sum(2)).sum(1) + penalty / 2 * weight.square().sum((1, 2))
    away = (log_odds.exp() - wanted) * share[:, :, None]
    slope = torch.cat([inputs.transpose(1, 2) @ away + penalty * weight, away.sum(1, keepdim=True)], 1)
    return value, slope


def _inverse(slope: torch.Tensor, steps: Sequence[torch.Tensor], turns: Sequence[torch.Tensor]) -> torch.Tensor:
    """The inverse Hessian's estimate times the derivative (algorithm 7.4); pairs without curvature are left out."""
    import torch

    result, used = slope, []
    for step, turn in zip(reversed(steps), reversed(turns), strict=True):
        curved = (step * turn).sum((1, 2))
        inverse = torch.where(curved > 1e-16, 1 / curved.clamp_min(1e-16), torch.zeros_like(curved))
        share = inverse * (step * result).sum((1, 2))
        result = result - share[:, None, None] * turn
        used.append((step, turn, inverse, share))
    if used:
        step, turn, inverse, _ = used[0]
        length = (step * turn).sum((1, 2)) / turn.square().sum((1, 2)).clamp_min(1e-300)
        result = torch.where(inverse > 0, length, torch.ones_like(length))[:, None, None] * result
    for step, turn, inverse, share in reversed(used):
        result = result + (share - inverse * (turn * result).sum((1, 2)))[:, None, None] * step
    return result
