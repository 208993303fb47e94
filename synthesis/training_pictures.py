"""Training pictures as something to compare with: how near is each of other pictures to the nearest of them?

The cosine of thumbnails leaves brightness and contrast out. In an even field hardly anything else is there, so a copy
that was saved as JPEG is no nearer than a sibling. The distance between the thumbnails themselves sees such copies, and
misses those that were made brighter. So thumbnails are compared by both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

CHUNK = 8192
CHANNELS = 3
EQUAL = 0.0
"""Closeness of equal thumbnails by distance."""


class TrainingPictures(Protocol):
    """Pictures in the form in which they are compared, and kept."""

    def __len__(self) -> int:
        """How many."""

    def closeness(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """How near other pictures, float32 (N, D), are to the nearest of these, by each measure.

        Returns:
            (measures, N), higher is nearer; the cosine first.
        """

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What the file keeps."""


class EmbeddedPictures(TrainingPictures):
    """Embeddings (N, D), compared by cosine. Kept as float16, which moves a cosine by 0.001 at most."""

    def __init__(self, embeddings: NDArray[np.floating]) -> None:
        self._rows = _unit(embeddings.astype(np.float16))

    @classmethod
    def read(cls, tensors: Mapping[str, NDArray[np.floating]]) -> EmbeddedPictures:
        """From `tensors`."""
        return cls(tensors["embeddings"])

    @override
    def __len__(self) -> int:
        return len(self._rows)

    @override
    def closeness(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        closest = np.full(len(rows), -np.inf, np.float32)
        for start in range(0, len(self._rows), CHUNK):
            np.maximum(closest, (rows @ self._rows[start : start + CHUNK].T).max(1), out=closest)
        return closest[None].astype(np.float64)

    @override
    def tensors(self) -> dict[str, NDArray[np.generic]]:
        return {"embeddings": self._rows.astype(np.float16)}


class ThumbnailPictures(TrainingPictures):
    """Thumbnails, compared by cosine without the mean of each channel, and by root mean square distance with it.

    Both come from one product, as the squared distance is that of the contrasts plus that of the means. Contrasts are
    kept as float16, means as float32.
    """

    def __init__(self, contrast: NDArray[np.floating], means: NDArray[np.floating]) -> None:
        """Take thumbnails apart: what is left of the cells (N, D) without the means (N, 3) of their channels."""
        self._contrast = contrast.astype(np.float16).astype(np.float32)
        self._means = means.astype(np.float32).astype(np.float64)
        self._squares = np.einsum("nd,nd->n", self._contrast, self._contrast, dtype=np.float64)

    @classmethod
    def of(cls, cells: NDArray[np.float32]) -> ThumbnailPictures:
        """From cells (N, D), 0 .. 255, RGB last."""
        return cls(*_apart(cells))

    @classmethod
    def read(cls, tensors: Mapping[str, NDArray[np.floating]]) -> ThumbnailPictures:
        """From `tensors`."""
        return cls(tensors["contrast"], tensors["means"])

    @override
    def __len__(self) -> int:
        return len(self._contrast)

    @override
    def closeness(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Cosine, -1 .. 1, and minus the distance, -255 .. 0."""
        contrast, means = _apart(rows)
        squares = np.einsum("nd,nd->n", contrast, contrast)
        cosine, distance = np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
        for start in range(0, len(self), CHUNK):
            known = slice(start, start + CHUNK)
            # float64: near 0 the distance is a small difference of large sums
            products = contrast @ self._contrast[known].T.astype(np.float64)
            lengths = np.sqrt(squares[:, None] * self._squares[known])
            found = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
            np.maximum(cosine, found.max(1), out=cosine)
            apart = (squares[:, None] + self._squares[known] - 2 * products) / contrast.shape[1]
            apart += ((means[:, None] - self._means[known]) ** 2).mean(2)
            np.minimum(distance, apart.min(1), out=distance)
        return np.stack([cosine, -np.sqrt(np.maximum(distance, 0))])

    @override
    def tensors(self) -> dict[str, NDArray[np.generic]]:
        return {"contrast": self._contrast.astype(np.float16), "means": self._means.astype(np.float32)}


def on_one_scale(closeness: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """One similarity of several measures: the cosine, or what another measure says where that is higher.

    What another measure says is put as the cosine that as many held-out pictures reach. So a threshold lies at the
    same quantile of each measure, and a picture stays below it where it does so by all of them.

    Args:
        closeness: (measures, N), as `TrainingPictures.closeness` gives it.
        levels: Quantiles (measures, levels) of the same measures over held-out pictures, ascending.

    Returns:
        (N,), -1 .. 1; 1 for a picture that one measure finds equal.
    """
    similarity: NDArray[np.float64] = closeness[0]
    for found, known in zip(closeness[1:], levels[1:], strict=True):
        similarity = np.maximum(similarity, np.interp(found, [*known, EQUAL], [*levels[0], 1.0]))
    return similarity


def _apart(cells: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is left of thumbnails (N, D) without the means (N, 3) of their channels, and these means."""
    wide = cells.astype(np.float64).reshape(len(cells), -1, CHANNELS)
    means = wide.mean(1)
    return (wide - means[:, None]).reshape(len(cells), -1), means


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    values = rows.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    return unit
