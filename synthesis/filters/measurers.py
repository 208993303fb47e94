"""What measures stored pictures for the filters: encoders, scene classifiers, and the measures of quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters.base import (
    AGREEMENT,
    DETAIL,
    EMBEDDINGS,
    PROBABILITIES,
    QUALITY,
    THUMBNAIL,
    Measurements,
    Measurer,
    Source,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrasynth.eval import Encoder, SceneClassifier, Segmenter


MEASURED = frozenset({EMBEDDINGS, PROBABILITIES, QUALITY, DETAIL, AGREEMENT})
"""What `load_measurer` has a measurer for."""


def load_measurer(source: Source, device: str) -> Measurer | LayoutMeasurer:
    """Load what a filter measures with.

    Raises:
        InputError: No such model.
    """
    from terrasynth.eval import ThumbnailEncoder, load_classifier, load_encoder, load_segmenter

    if source.gives == QUALITY:
        return QualityMeasurer()
    if source.gives == DETAIL:
        return DetailMeasurer()
    if source.gives == PROBABILITIES:
        return SceneMeasurer(load_classifier(source.reference, device=device))
    if source.gives == AGREEMENT:
        return LayoutMeasurer(load_segmenter(source.reference, device=device))
    if source.gives != EMBEDDINGS:
        raise InputError(f"nothing here measures {source.gives!r}; a filter that needs it brings its own measurer "
                         "(FilterSettings.own_measurer)")
    if source.reference == THUMBNAIL:
        return EncoderMeasurer(ThumbnailEncoder())
    return EncoderMeasurer(load_encoder(source.reference, device=device))


class EncoderMeasurer:
    """Embeddings, and the cosine with the text where the encoder reads one."""

    def __init__(self, encoder: Encoder) -> None:
        self.model = encoder

    def identity(self) -> dict[str, object]:
        """The encoder's."""
        return self.model.identity()

    def measure(self, images: NDArray[np.uint8], texts: Sequence[str]) -> Measurements:
        """Embeddings (N, D) and alignment."""
        seen = self.model.encode_images(images)
        if not self.model.reads_text:
            return Measurements(EMBEDDINGS, seen.astype(np.float32))
        read = self.model.encode_texts(list(texts))
        return Measurements(EMBEDDINGS, seen.astype(np.float32), (seen * read).sum(axis=1).astype(np.float32))


class SceneMeasurer:
    """Class probabilities."""

    def __init__(self, classifier: SceneClassifier) -> None:
        self.model = classifier

    def identity(self) -> dict[str, object]:
        """The classifier's, marked: the same network may be asked for its features elsewhere."""
        return {"gives": "probabilities"} | self.model.identity()

    def measure(self, images: NDArray[np.uint8], texts: Sequence[str]) -> Measurements:
        """Probabilities (N, C)."""
        return Measurements(PROBABILITIES, self.model.probabilities(images).astype(np.float32))


class LayoutMeasurer:
    """Confusions of what a segmenter sees with the layouts that the images were drawn by."""

    model: Any
    reads_layouts = True

    def __init__(self, segmenter: Segmenter) -> None:
        self.model = segmenter

    def identity(self) -> dict[str, object]:
        """The segmenter's, marked, with the version of the classes of layouts."""
        from terrasynth.prompts.layouts.catalog import catalog_hash

        return {"gives": AGREEMENT, "catalog": catalog_hash(), **self.model.identity()}

    def measure(self, images: NDArray[np.uint8], texts: Sequence[str], layouts: Sequence[str]) -> Measurements:
        """Confusions (N, 36), a row a class of the layout and a column what is seen."""
        from terrasynth.synthesis.filters.layout import agreement

        return Measurements(AGREEMENT, agreement(self.model, images, layouts))


class DetailMeasurer:
    """Layout and detail of pictures, by which near-copies are found.

    Attributes:
        model: The encoder of thumbnails.
    """

    def __init__(self) -> None:
        from terrasynth.eval import ThumbnailEncoder

        self.model = ThumbnailEncoder()

    def identity(self) -> dict[str, object]:
        """The encoder's, marked as that of a classifier is."""
        return {"gives": "detail"} | self.model.identity()

    def measure(self, images: NDArray[np.uint8], texts: Sequence[str]) -> Measurements:
        """Layout and detail side by side (N, 1792)."""
        return Measurements(DETAIL, self.model.with_detail(images).astype(np.float32))


class QualityMeasurer:
    """The numbers of `terrasynth.eval.metrics.picture_quality`, then height and width: what is normal depends on these.

    Attributes:
        model: None.
    """

    model = None

    def identity(self) -> dict[str, object]:
        """The version of the measures."""
        from terrasynth.eval.metrics.picture_quality import IDENTITY

        return dict(IDENTITY)

    def measure(self, images: NDArray[np.uint8], texts: Sequence[str]) -> Measurements:
        """Measures and size (N, M + 2)."""
        from terrasynth.eval.metrics.picture_quality import measure_quality

        size = np.broadcast_to(np.array(images.shape[1:3], np.float32), (len(images), 2))
        return Measurements(QUALITY, np.concatenate([measure_quality(images), size], axis=1).astype(np.float32))


def quality_of(measurements: Measurements) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """What `QualityMeasurer` measured: the measures, float32 (N, M), and height and width of the images in pixels.

    Raises:
        RunError: Something else measured.
    """
    numbers = measurements.of(QUALITY)
    height, width = numbers[0, -2:]
    return numbers[:, :-2], (int(height), int(width))
