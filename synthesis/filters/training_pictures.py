"""Training images as something to compare with: how near is each of other images to the nearest of them?

Images may be compared by several measures: cosines, and the correlation after the one was laid over the other
(`terrasynth.eval.copies.registration`). An image is as near as any of them says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.nearest import closest, unit
from terrasynth.eval.copies.registration import REGISTERED, Registration

CHUNK = 8192


class TrainingPictures:
    """Features of N images, one row of an image for each cosine. Kept as float16, which moves a cosine by 0.001.

    Attributes:
        measures: Names of the measures; the first gives its scale to the others.
    """

    def __init__(self, features: Mapping[str, NDArray[np.floating]], registered: bool = False) -> None:
        """Take features (N, D) of each cosine, of any length.

        Args:
            features: By measure.
            registered: Whether images are laid over each other, too; the features are layout and detail.
        """
        self._names = tuple(features)
        self.measures = (*features, REGISTERED) if registered else self._names
        self._features = [unit(rows.astype(np.float16).astype(np.float32)) for rows in features.values()]
        self._registration = Registration(self._features[0], self._features[1]) if registered else None

    @classmethod
    def split(cls, rows: NDArray[np.float32], parts: Mapping[str, int], registered: bool = False) -> TrainingPictures:
        """From rows that hold the features of all measures side by side, so many columns of each."""
        return cls(dict(zip(parts, _split(rows, list(parts.values())), strict=True)), registered)

    def __len__(self) -> int:
        return len(self._features[0])

    def closeness(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """The cosine of other images to the nearest of these, or the correlation, by each measure.

        Args:
            rows: float32 (M, D), the unit vectors of all measures side by side.

        Returns:
            (measures, M), -1 .. 1.
        """
        widths = [known.shape[1] for known in self._features]
        parts = _split(rows, widths)
        found = [closest(own, known, CHUNK).astype(np.float64)
                 for own, known in zip(parts, self._features, strict=True)]
        if self._registration is not None:
            laid = self._registration.nearest(parts[0][None], parts[1][None])
            found.append(laid.correlation[:, 0].astype(np.float64))
        return np.stack(found)

    def tensors(self) -> dict[str, NDArray[np.float16]]:
        """The features by measure, as they are kept."""
        return {name: rows.astype(np.float16) for name, rows in zip(self._names, self._features, strict=True)}


def on_one_scale(closeness: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """One similarity from several measures: that of the first, or what another says where that is higher.

    A cosine by another measure is put as the cosine by the first that as many held-out images reach. So a threshold
    lies at the same quantile of every measure, and an image stays below it where it does so by all of them.

    Args:
        closeness: (measures, N), as `TrainingPictures.closeness` gives it.
        levels: Quantiles (measures, levels) of the same measures over held-out images, ascending.

    Returns:
        (N,), -1 .. 1; 1 for an image that one measure finds equal.
    """
    similarity: NDArray[np.float64] = closeness[0]
    for found, known in zip(closeness[1:], levels[1:], strict=True):
        similarity = np.maximum(similarity, np.interp(found, [*known, 1.0], [*levels[0], 1.0]))
    return similarity


def _split(rows: NDArray[np.floating], widths: Sequence[int]) -> list[NDArray[np.floating]]:
    return np.split(rows, np.cumsum(widths)[:-1], axis=1)
