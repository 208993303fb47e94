"""The learning rate over a training: a warm-up, then half a cosine."""

from __future__ import annotations

import math

from terrasynth.training.running.settings import LoopSettings

REACHED = 0.75
"""Share of the learning rate below which its highest is worth a word."""


def learning_rate_factor(step: int, fraction: float, warmup_steps: int) -> float:
    """Linear warm-up times half a cosine over the share of the budget that is spent; in (0, 1]."""
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    return warm * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


def warm_up_remark(settings: LoopSettings) -> str:
    """What is to be said of a warm-up that fills a training, so that its rate stays low, on one line; "" of another."""
    steps, warm = settings.max_steps, settings.warmup_steps
    highest = max(learning_rate_factor(step, step / steps, warm) for step in range(min(steps, warm + 1)))
    if highest >= REACHED:
        return ""
    return (f"loop.warmup_steps {warm} of loop.max_steps {steps}: the learning rate gets no higher than {highest:.0%} "
            f"of loop.learning_rate; set loop.warmup_steps={steps // 10}, or train for more steps")
