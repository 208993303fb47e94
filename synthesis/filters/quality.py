"""The filter `quality`: is the image sharp, full, unclipped, colored, and without a grid?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import override

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters.base import QUALITY, ClassJudge, FilterSettings, Measurements, Source, one_of
from terrasynth.synthesis.filters.measurers import quality_of

if TYPE_CHECKING:
    from terrasynth.eval.metrics.quality_calibration import QualityCalibration

SHIPPED = "ucm-val"


class QualityFilter(FilterSettings):
    """Keeps images that are well on a measure of `terrasynth.eval.metrics.picture_quality`; list it once a measure.

    Attributes:
        measure: Which; `terrasynth.eval.metrics.picture_quality` says what each counts, and in which unit.
        min_score: Lowest value that passes, for a measure that is bad when low.
        max_score: Highest value that passes, for one that is bad when high.
        pass_real: Or: the value that this share (0 .. 1) of real images of the same size is as good as.
        calibration: Where the values of real images are: "ucm-val", shipped for 128 and 256 px, or a file.
    """

    places: ClassVar[tuple[str, ...]] = ("calibration",)
    on_content: ClassVar[bool] = False

    kind: Literal["quality"] = "quality"
    measure: Literal["sharpness", "flatness", "clipping", "cast", "colour", "seams"]
    min_score: float | None = Field(default=None, ge=0)
    max_score: float | None = Field(default=None, ge=0)
    pass_real: float | None = Field(default=None, gt=0, lt=1)
    calibration: str = SHIPPED

    @model_validator(mode="after")
    def _one_threshold(self) -> QualityFilter:
        from terrasynth.eval.metrics.picture_quality import MEASURES

        one_of(min_score=self.min_score, max_score=self.max_score, pass_real=self.pass_real)
        low = MEASURES[self.measure].low_is_bad
        if (self.max_score if low else self.min_score) is not None:
            raise ValueError(f"{self.measure} is bad when {'low' if low else 'high'}; "
                             f"give {'min_score' if low else 'max_score'}, or pass_real")
        return self

    @property
    @override
    def source(self) -> Source:
        return Source(QUALITY)

    @override
    def check(self, labels: Sequence[str], model: Any) -> None:
        """Check that the calibration can be read, where it is needed.

        Raises:
            InputError: It cannot.
        """
        self.calibrated()

    @override
    def check_size(self, height: int, width: int) -> None:
        """Check that the calibration holds real images of that size.

        Raises:
            InputError: It does not.
        """
        self.threshold(height, width, self.calibrated())

    @override
    def judge(self, label: str, model: Any, scratch: Path) -> ClassJudge:
        """A judge with the threshold for the size of the images it meets."""
        return _QualityJudge(self)

    def threshold(self, height: int, width: int, calibration: QualityCalibration | None) -> float:
        """The value that just passes, for images of a size in pixels."""
        if calibration is not None and self.pass_real is not None:
            return calibration.threshold(self.measure, min(height, width), self.pass_real)
        absolute = self.min_score if self.max_score is None else self.max_score
        return float(absolute or 0.0)

    def calibrated(self) -> QualityCalibration | None:
        """The values of real images; None where no threshold is taken from them.

        Raises:
            InputError: They cannot be read.
        """
        return None if self.pass_real is None else self._read()

    def _read(self) -> QualityCalibration:
        from terrasynth.eval.metrics.quality_calibration import QualityCalibration

        path = QualityCalibration.shipped(SHIPPED) if self.calibration == SHIPPED else Path(self.calibration)
        if not path.is_file():
            raise InputError(
                f"calibration {self.calibration!r} of the quality filter does not exist; use {SHIPPED!r}, or a file "
                "that `terrasynth eval calibrate` wrote"
            )
        return QualityCalibration.load(path)


class _QualityJudge(ClassJudge):
    remembers = False

    def __init__(self, settings: QualityFilter) -> None:
        from terrasynth.eval.metrics.picture_quality import MEASURES

        self.threshold = float("nan")
        self._settings = settings
        self._calibration = settings.calibrated()
        self._low_is_bad = MEASURES[settings.measure].low_is_bad
        self._place = list(MEASURES).index(settings.measure)
        self._scores: NDArray[np.float32] = np.empty(0, np.float32)

    @property
    @override
    def file(self) -> Mapping[str, object]:
        known = self._calibration
        return {} if known is None else {"content": known.content, "data": known.data, "split": known.split}

    @override
    def begin(self, measurements: Measurements) -> None:
        measures, (height, width) = quality_of(measurements)
        if np.isnan(self.threshold):
            self.threshold = self._settings.threshold(height, width, self._calibration)
        self._scores = measures[:, self._place]

    @override
    def score(self, row: int) -> float | None:
        return round(float(self._scores[row]), 6)

    @override
    def passes(self, score: float | None) -> bool:
        if score is None:
            return False
        return score >= self.threshold if self._low_is_bad else score <= self.threshold
