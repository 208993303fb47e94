"""The filter `scene`: does a scene classifier see the class that was asked for?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import override

from terrasynth.prompts.scenes.wording import place_of
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters.base import PROBABILITIES, ClassJudge, FilterSettings, Measurements, Source, one_of

if TYPE_CHECKING:
    from terrasynth.eval import SceneClassifier
    from terrasynth.eval.models.calibration import Calibration

DEFAULT_CLASSIFIER = "scene-ucm"


class SceneFilter(FilterSettings):
    """Keeps images in which a scene classifier sees their class.

    Attributes:
        classifier: Model reference of a scene classifier that knows the classes.
        min_probability: Lowest probability of the class, 0 .. 1; the score is that probability.
        pass_real: Or: the probability that this share (0 .. 1) of real images reaches, from the calibration shipped
            with the classifier; of those of the class where they are many (`terrasynth.eval.models.calibration`), else
            of all.
        top: Or: the class is among so many most probable ones; the score is how far its probability is above the
            best one that would push it out, and 0 passes.
    """

    places: ClassVar[tuple[str, ...]] = ("classifier",)
    asks: ClassVar[Literal["", "encoder", "classifier"]] = "classifier"

    kind: Literal["scene"] = "scene"
    classifier: str = DEFAULT_CLASSIFIER
    min_probability: float | None = Field(default=None, ge=0, le=1)
    pass_real: float | None = Field(default=None, gt=0, lt=1)
    top: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_threshold(self) -> SceneFilter:
        one_of(min_probability=self.min_probability, pass_real=self.pass_real, top=self.top)
        return self

    @property
    @override
    def source(self) -> Source:
        return Source(PROBABILITIES, self.classifier)

    @override
    def check(self, labels: Sequence[str], model: SceneClassifier) -> None:
        """Check that the classifier knows every class, and has a threshold for it.

        Raises:
            InputError: It does not know one, or `pass_real` without a calibration of these weights.
        """
        for label in labels:
            self._place(label, model)
        if self.top is not None and self.top >= len(model.labels):
            raise InputError(
                f"top {self.top}: classifier {self.classifier!r} knows {len(model.labels)} classes, so that all would "
                f"pass; give 1 to {len(model.labels) - 1}"
            )
        if self.pass_real is not None:
            self._calibration(model)

    @override
    def judge(self, label: str, model: SceneClassifier, scratch: Path) -> ClassJudge:
        """A judge of one class's probability."""
        place = self._place(label, model)
        if self.top is not None:
            return _TopJudge(place, self.top)
        if self.pass_real is not None:
            return _ProbabilityJudge(place, self._calibration(model).threshold(label, self.pass_real))
        return _ProbabilityJudge(place, self.min_probability or 0.0)

    def _place(self, label: str, model: SceneClassifier) -> int:
        place = place_of(label, model.labels)
        if place is None:
            raise InputError(
                f"class {label!r} is unknown to classifier {self.classifier!r} of the scene filter, which knows "
                f"{', '.join(model.labels)}; make a judge of your classes with `terrasynth train judge`, or leave the "
                "filter or the class out"
            )
        return place

    def _calibration(self, model: SceneClassifier) -> Calibration:
        from terrasynth.eval.models.calibration import Calibration
        from terrasynth.eval.models.loaders import scene_calibration_of

        path = scene_calibration_of(self.classifier)
        if path is None:
            raise InputError(
                f"pass_real {self.pass_real}: classifier {self.classifier!r} has no calibration.json beside its "
                "weights; use min_probability or top instead, or make one with `terrasynth eval calibrate`"
            )
        calibration = Calibration.load(path)
        measured, loaded = calibration.encoder.get("content"), model.identity().get("content")
        if measured != loaded:
            raise InputError(
                f"pass_real {self.pass_real}: the calibration.json of classifier {self.classifier!r} was measured with "
                f"weights {measured}, and these are {loaded}; calibrate again, or use min_probability"
            )
        return calibration


class _ProbabilityJudge(ClassJudge):
    remembers = False

    def __init__(self, place: int, threshold: float) -> None:
        self.threshold = threshold
        self._place = place
        self._scores: NDArray[np.float32] = np.empty(0, np.float32)

    @override
    def begin(self, measurements: Measurements) -> None:
        self._scores = measurements.of(PROBABILITIES)[:, self._place]

    @override
    def score(self, row: int) -> float | None:
        return round(float(self._scores[row]), 6)

    @override
    def passes(self, score: float | None) -> bool:
        return score is not None and score >= self.threshold


class _TopJudge(_ProbabilityJudge):
    def __init__(self, place: int, top: int) -> None:
        super().__init__(place, 0.0)
        self._top = top

    @override
    def begin(self, measurements: Measurements) -> None:
        others = np.sort(np.delete(measurements.of(PROBABILITIES), self._place, axis=1), axis=1)
        self._scores = measurements.of(PROBABILITIES)[:, self._place] - others[:, -self._top]
