"""The filter `layout`: does a segmenter see in the image what its layout says?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import override

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.filters.base import AGREEMENT, ClassJudge, FilterSettings, Measurements, Source, one_of

if TYPE_CHECKING:
    from terrasynth.eval import Segmenter
    from terrasynth.eval.models.calibration import Calibration


class LayoutFilter(FilterSettings):
    """Keeps images in which a segmenter sees the land cover of their layout.

    The score is the mean intersection over union of the classes that fill at least a hundredth of the layout, of the
    six of a land-cover map. An image that was shown no layout passes.

    Attributes:
        segmenter: Model reference of a segmenter of these six classes, such as a folder of `train segmenter`.
        min_iou: Lowest score, 0 .. 1.
        pass_real: Or: the score that this share (0 .. 1) of real images reaches with their own masks, from the
            calibration shipped with the segmenter; of those of the class where they are many, else of all.
    """

    places: ClassVar[tuple[str, ...]] = ("segmenter",)

    kind: Literal["layout"] = "layout"
    segmenter: str
    min_iou: float | None = Field(default=None, ge=0, le=1)
    pass_real: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_threshold(self) -> LayoutFilter:
        one_of(min_iou=self.min_iou, pass_real=self.pass_real)
        return self

    @property
    @override
    def source(self) -> Source:
        return Source(AGREEMENT, self.segmenter)

    @override
    def read_run(self, root: Path, identity: Identity) -> None:
        """Nothing is read; a run whose model is shown no layouts is refused."""
        if not identity.has_layouts:
            raise InputError("the filter layout compares images with their layouts, and the generator of this recipe "
                             "is shown none; give it generator.control, or leave the filter out")

    @override
    def check(self, labels: Sequence[str], model: Segmenter) -> None:
        """Check that the segmenter tells the six classes, and has a threshold.

        Raises:
            InputError: It tells others, or `pass_real` without a calibration of these weights.
        """
        from terrasynth.prompts.layouts.catalog import SIX

        if model.labels != SIX:
            raise InputError(f"segmenter {self.segmenter!r} of the layout filter knows {', '.join(model.labels[:8])}, "
                             f"and layouts are read as {', '.join(SIX)}; train one with `terrasynth train segmenter`")
        self._calibration(model)

    @override
    def judge(self, label: str, model: Segmenter, scratch: Path) -> ClassJudge:
        """A judge with the threshold of a class."""
        known = self._calibration(model)
        if known is None or self.pass_real is None:
            return _IouJudge(self.min_iou or 0.0)
        return _IouJudge(known.threshold(label, self.pass_real))

    def _calibration(self, model: Segmenter) -> Calibration | None:
        if self.pass_real is None:
            return None
        known = model.calibration
        if known is None:
            raise InputError(f"pass_real {self.pass_real}: segmenter {self.segmenter!r} has no calibration.json beside "
                             "its weights; use min_iou, or a segmenter of `terrasynth train segmenter`")
        measured, loaded = known.encoder.get("content"), model.identity().get("content")
        if measured != loaded:
            raise InputError(f"pass_real {self.pass_real}: the calibration.json of segmenter {self.segmenter!r} was "
                             f"measured with weights {measured}, and these are {loaded}; train it anew, or use min_iou")
        return known


class _IouJudge(ClassJudge):
    remembers = False

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._scores: NDArray[np.float64] = np.empty(0)

    @override
    def begin(self, measurements: Measurements) -> None:
        from terrasynth.eval.metrics.segmentation import image_scores

        numbers = measurements.of(AGREEMENT)
        side = round(numbers.shape[1] ** 0.5)
        self._scores = image_scores(numbers.reshape(-1, side, side).astype(np.int64))

    @override
    def score(self, row: int) -> float | None:
        found = float(self._scores[row])
        return None if np.isnan(found) else round(found, 6)

    @override
    def passes(self, score: float | None) -> bool:
        return score is None or score >= self.threshold


def agreement(segmenter: Any, images: NDArray[np.uint8], layouts: Sequence[str]) -> NDArray[np.float32]:  # noqa: ANN401
    """Confusions of images uint8 (N, H, W, 3) with their layouts, float32 (N, 36) of whole numbers of pixels.

    Rows of zeros stand for images that were shown no layout.
    """
    from terrasynth.eval.metrics.segmentation import confusion
    from terrasynth.prompts.layouts.catalog import SIX
    from terrasynth.prompts.layouts.labels import labels_at
    from terrasynth.prompts.layouts.layout import Layout

    seen = segmenter.segment(images)
    found = np.zeros((len(images), len(SIX) ** 2), np.float32)
    for row, text in enumerate(layouts):
        if text:
            truth = labels_at(Layout.from_json(text), images.shape[1]).six()
            found[row] = confusion(truth, seen[row], len(SIX)).ravel()
    return found
