"""The filter `alignment`: does the image show what its text says?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import override

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.knowledge import known_by, knows_class
from terrasynth.synthesis.filters.base import EMBEDDINGS, ClassJudge, FilterSettings, Measurements, Source, one_of

if TYPE_CHECKING:
    from terrasynth.eval import Encoder

DEFAULT_ENCODER = "clip-ucm"
ROUNDING = 1e-9


class AlignmentFilter(FilterSettings):
    """Keeps images whose cosine with their text is high enough.

    Attributes:
        encoder: Model reference of a dual encoder.
        min_score: Absolute threshold, -1 .. 1.
        pass_real: Or: the score that this share (0 .. 1) of real pairs reaches, from the calibration shipped with the
            encoder: of those of the class where they are many (`terrasynth.eval.models.calibration`), else of all.
        quantile: Or: the score below which this share (0 .. 1) of the class's first attempts lies.
        calibrate_on: How many first attempts these are; they are all drawn before the first is judged.
    """

    asks: ClassVar[Literal["", "encoder", "classifier"]] = "encoder"

    kind: Literal["alignment"] = "alignment"
    encoder: str = DEFAULT_ENCODER
    min_score: float | None = Field(default=None, ge=-1, le=1)
    pass_real: float | None = Field(default=None, gt=0, lt=1)
    quantile: float | None = Field(default=None, gt=0, lt=1)
    calibrate_on: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _one_threshold(self) -> AlignmentFilter:
        one_of(min_score=self.min_score, pass_real=self.pass_real, quantile=self.quantile)
        if (self.quantile is None) != (self.calibrate_on is None):
            raise ValueError("quantile and calibrate_on belong together: the share, and of how many first attempts")
        return self

    @property
    @override
    def source(self) -> Source:
        return Source(EMBEDDINGS, self.encoder)

    @property
    @override
    def needs(self) -> int:
        return self.calibrate_on or 0

    @property
    @override
    def rejects(self) -> int:
        place = (self.quantile or 0) * max(self.needs - 1, 0)
        return math.ceil(place - ROUNDING)  # those that lie before it

    def threshold(self, label: str, encoder: Encoder) -> float:
        """The lowest score that passes for a class, where it does not come from its first attempts.

        Raises:
            InputError: `pass_real` with an encoder that has no calibration.
        """
        if self.min_score is not None:
            return self.min_score
        if encoder.calibration is None or self.pass_real is None:
            raise InputError(
                f"pass_real {self.pass_real}: encoder {self.encoder!r} has no calibration.json beside its weights; "
                "use min_score or quantile instead, or an encoder with a calibration"
            )
        return float(encoder.calibration.threshold(label, self.pass_real))

    @override
    def check(self, labels: Sequence[str], model: Encoder) -> None:
        """Check that there is a threshold for every class.

        Raises:
            InputError: `pass_real` with an encoder that has no calibration, or that of other weights.
        """
        if not model.reads_text:
            raise InputError(f"encoder {self.encoder!r} of the alignment filter reads no text; use a dual encoder such "
                             f"as {DEFAULT_ENCODER!r}")
        calibration = model.calibration
        if self.pass_real is not None and calibration is not None:
            measured, loaded = calibration.encoder.get("content"), model.identity().get("content")
            if measured != loaded:
                raise InputError(
                    f"pass_real {self.pass_real}: the calibration.json of encoder {self.encoder!r} was measured with "
                    f"weights {measured}, and these are {loaded}; calibrate again, or use min_score"
                )
        if self.pass_real is not None:
            self._check_classes(labels)
        if self.quantile is None:
            for label in labels:
                self.threshold(label, model)

    def _check_classes(self, labels: Sequence[str]) -> None:
        """Refuse the scores of real pairs of other classes as the scale of a class that the encoder cannot read."""
        knowledge = known_by(self.encoder)
        strangers = [label for label in labels if knowledge is not None and not knows_class(knowledge, label)]
        if strangers:
            more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
            raise InputError(
                f"pass_real {self.pass_real}: encoder {self.encoder!r} of the alignment filter never met the class "
                f"{strangers[0]!r}{more} and cannot read its name, so scores of other classes say nothing about it; "
                "make a judge of your classes with `terrasynth train judge`, or use min_score or quantile"
            )

    @override
    def judge(self, label: str, model: Encoder, scratch: Path) -> ClassJudge:
        """A judge with the class's threshold, or one that takes it from the first attempts."""
        if self.quantile is not None:
            return _QuantileJudge(self.quantile, self.needs)
        return _AlignmentJudge(self.threshold(label, model))


class _AlignmentJudge(ClassJudge):
    remembers = False

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._scores: NDArray[np.float32] = np.empty(0, np.float32)

    @override
    def begin(self, measurements: Measurements) -> None:
        self._scores = measurements.cosines()

    @override
    def score(self, row: int) -> float | None:
        return float(self._scores[row])

    @override
    def passes(self, score: float | None) -> bool:
        return score is not None and score >= self.threshold


class _QuantileJudge(_AlignmentJudge):
    def __init__(self, quantile: float, needs: int) -> None:
        super().__init__(float("nan"))
        self.needs = needs
        self._quantile = quantile

    @override
    def learn(self, first: Measurements) -> None:
        # Not rounded: where all scores are equal, all of them reach it.
        self.threshold = float(np.quantile(first.cosines().astype(np.float64), self._quantile))
