"""The views of a training image that a fine-tuning sees."""

from __future__ import annotations

import numpy as np

from terrasynth.training.data.views import TURNS, View
from terrasynth.training.tuning.settings import FinetuneSettings


def views_of(row: int, settings: FinetuneSettings, seed: int) -> list[View]:
    """The views of a training image, the same for the same (row, settings, seed).

    The first is the image's middle, whole and upright; the others lie anywhere in it and span
    `settings.min_scale` to 1 of it.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, row]))
    views = []
    for number in range(settings.number_of_views):
        scale, left, top = random.uniform(settings.min_scale, 1.0), *random.uniform(size=2)
        turn = number % TURNS if settings.augment == "pictures" else 0
        views.append(View(turn, float(scale), float(left), float(top)) if number else View())
    return views
