"""The `brightness` filter: images that are neither black nor washed out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.filters import ClassJudge, FilterSettings, Measurements, Measurer, Source

KIND = "brightness"  # of its measurements: a filter that expects another kind is told so


class BrightnessFilter(FilterSettings):
    """Accept images whose mean value lies between two bounds.

    Attributes:
        min_mean: Smallest mean over all pixels and channels, 0 to 255.
        max_mean: Largest.
    """

    places: ClassVar[tuple[str, ...]] = ()
    kind: Literal["brightness"] = "brightness"
    min_mean: float = 0.0
    max_mean: float = 255.0

    @property
    def source(self) -> Source:
        """What it measures with: a measurer of its own."""
        return Source(KIND)

    def own_measurer(self, device: str) -> Measurer:
        """It needs no model, so the device does not matter."""
        return _Brightness()

    def judge(self, label: str, model: Any, scratch: Path) -> ClassJudge:
        """Every class is judged alike."""
        return _BrightnessJudge(self)


class _Brightness:
    model = None

    def identity(self) -> dict[str, object]:
        return {"measures": "brightness", "version": 1}

    def measure(self, images: NDArray[np.uint8], texts: Sequence[str]) -> Measurements:
        means = images.reshape(len(images), -1).mean(1, dtype=np.float64).astype(np.float32)
        return Measurements(KIND, means[:, None])


class _BrightnessJudge(ClassJudge):
    def __init__(self, settings: BrightnessFilter) -> None:
        self.threshold = settings.min_mean
        self._settings = settings
        self._means: NDArray[np.float32] = np.empty(0, np.float32)

    def begin(self, measurements: Measurements) -> None:
        self._means = measurements.of(KIND)[:, 0]

    def score(self, row: int) -> float | None:
        return round(float(self._means[row]), 4)

    def passes(self, score: float | None) -> bool:
        return score is not None and self._settings.min_mean <= score <= self._settings.max_mean
