"""The filter `near_copy`: is the image nearly one of those that the generator was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import override

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters.base import (
    DETAIL,
    EMBEDDINGS,
    THUMBNAIL,
    ClassJudge,
    FilterSettings,
    Measurements,
    Source,
    one_of,
)
from terrasynth.synthesis.filters.training_features import TrainingFeatures

if TYPE_CHECKING:
    from terrasynth.eval import Encoder


class NearCopyFilter(FilterSettings):
    """Keeps images that are not too close to any image of the training set, whatever its class.

    Attributes:
        reference: The training set's features: a file that `terrasynth eval features DATA` wrote.
        encoder: What made them: "thumbnail", or the model reference of an encoder.
        max_similarity: Highest similarity to any training image, -1 .. 1: the cosine; of thumbnails also that of
            the detail, on the scale of the first, where the file was made with held-out images.
        pass_real: Or: the similarity that this share (0 .. 1) of held-out real images stays at or below; the file
            holds it when it was made with held-out images.
    """

    places: ClassVar[tuple[str, ...]] = ("reference", "encoder")
    against_copies: ClassVar[bool] = True
    on_content: ClassVar[bool] = False

    kind: Literal["near_copy"] = "near_copy"
    reference: str
    encoder: str = THUMBNAIL
    max_similarity: float | None = Field(default=None, ge=-1, le=1)
    pass_real: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_threshold(self) -> NearCopyFilter:
        one_of(max_similarity=self.max_similarity, pass_real=self.pass_real)
        return self

    @property
    @override
    def source(self) -> Source:
        return Source(DETAIL if self.encoder == THUMBNAIL else EMBEDDINGS, self.encoder)

    @override
    def check(self, labels: Sequence[str], model: Encoder) -> None:
        """Check that the features were made by this encoder.

        Raises:
            InputError: They were not, the file cannot be read, or it has no held-out images for `pass_real`.
        """
        self._features(model)

    @override
    def judge(self, label: str, model: Encoder, scratch: Path) -> ClassJudge:
        """A judge that compares with all training images."""
        features = self._features(model)
        if self.pass_real is not None:
            return _NearCopyJudge(features, self.source.gives, features.threshold(self.pass_real))
        return _NearCopyJudge(features, self.source.gives, float(self.max_similarity or 0.0))

    def _features(self, model: Encoder) -> TrainingFeatures:
        features = TrainingFeatures.load(Path(self.reference))
        if features.encoder != model.identity():
            raise InputError(
                f"reference {self.reference!r} of the near_copy filter was made by encoder {features.encoder}, and "
                f"{self.encoder!r} is {model.identity()}; name the encoder that made it, or make it again with "
                "`terrasynth eval features`"
            )
        if self.pass_real is not None:
            features.threshold(self.pass_real)
        return features


class _NearCopyJudge(ClassJudge):
    remembers = False

    def __init__(self, features: TrainingFeatures, kind: str, threshold: float) -> None:
        self.threshold = threshold
        self._features, self._kind = features, kind
        self._similarity: NDArray[np.float64] = np.empty(0)

    @property
    @override
    def file(self) -> Mapping[str, object]:
        return self._features.record

    @override
    def begin(self, measurements: Measurements) -> None:
        self._similarity = self._features.similarity(measurements.of(self._kind))

    @override
    def score(self, row: int) -> float | None:
        return round(float(self._similarity[row]), 6)

    @override
    def passes(self, score: float | None) -> bool:
        return score is not None and score <= self.threshold
