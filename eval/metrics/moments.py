"""Mean and covariance of features: gathered batch by batch, merged across workers, kept in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from terrasynth.errors import one_line
from terrasynth.eval.errors import InputError
from terrasynth.permissions import like_new_files

ROWS = 8192
"""Feature vectors that are taken in at a time; what is held besides the features is this many in `float64`."""

KIND = "terrasynth.feature-statistics.v1"


class FeatureStatistics:
    """Count, mean and scatter of feature vectors, in one pass and `float64`.

    Statistics of parts merge to those of the whole (Chan, Golub & LeVeque 1983, equations 2.1a and 2.1b), so that
    memory does not grow with the number of images, and workers may each hold a part.

    Args:
        dim: Width F of the features.

    Attributes:
        n: Vectors seen.
        mean: `float64` (F,).

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import FeatureStatistics
        >>> features = np.random.default_rng(0).normal(size=(10, 4))
        >>> whole = FeatureStatistics.of(features)
        >>> merged = FeatureStatistics.of(features[:6]).merge(FeatureStatistics.of(features[6:]))
        >>> merged.n, np.allclose(merged.mean, whole.mean)
        (10, True)
    """

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.mean: NDArray[np.float64] = np.zeros(dim)
        self._scatter: NDArray[np.float64] = np.zeros((dim, dim))

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> FeatureStatistics:
        """Statistics of one array (N, F), which may be mapped from a file: it is read `ROWS` rows at a time.

        Raises:
            ValueError: Not two-dimensional, or not finite.
        """
        if features.ndim != 2:
            raise ValueError(f"features: shape {features.shape}, where (N, F) is needed; flatten or pool them first")
        statistics = cls(features.shape[1])
        for start in range(0, len(features), ROWS):
            statistics._take(features[start : start + ROWS].astype(np.float64))
        return statistics

    def update(self, features: NDArray[np.floating]) -> None:
        """Take in one more batch (N, F).

        Raises:
            ValueError: Another width, not two-dimensional, or not finite.
        """
        merged = self.merge(FeatureStatistics.of(features))
        self.n, self.mean, self._scatter = merged.n, merged.mean, merged._scatter

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Statistics of both sets together; neither is changed.

        Raises:
            ValueError: The widths differ.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"features of width {len(self.mean)} and {len(other.mean)} do not merge; use one network")
        merged = FeatureStatistics(len(self.mean))
        merged.n, merged.mean, merged._scatter = self.n, self.mean.copy(), self._scatter.copy()
        merged._add(other.n, other.mean, other._scatter)
        return merged

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Unbiased covariance (F, F).

        Raises:
            ValueError: Fewer than two vectors were seen.
        """
        if self.n < 2:
            raise ValueError(f"covariance of {self.n} feature vectors: give at least two images")
        return self._scatter / (self.n - 1)

    def save(self, path: Path, about: Mapping[str, object], dtype: DTypeLike = np.float64) -> None:
        """Write a `safetensors` file; the same statistics and description always give the same bytes.

        It holds the mean (F,) in `float64`, the upper triangle of the covariance (F (F + 1) / 2,), and as JSON in its
        header the number of vectors beside `about`. No single image's features are in it.

        Args:
            about: What the statistics are of, JSON-able: identity of the network, size of the images, the list of
                files. Who loads them has to check it.
            dtype: Of the covariance: `float64`, or `float32` for half the size at seven digits.

        Raises:
            ValueError: Fewer than two vectors were seen.
        """
        from safetensors.numpy import save_file

        upper = self.covariance[np.triu_indices(len(self.mean))]
        header = {"kind": KIND, "n": self.n, "about": dict(about)}
        tensors = {"mean": self.mean, "covariance": np.ascontiguousarray(upper.astype(dtype))}
        save_file(tensors, path, {"terrasynth": json.dumps(header, sort_keys=True)})
        like_new_files(path)

    @classmethod
    def load(cls, path: Path) -> tuple[FeatureStatistics, dict[str, object]]:
        """Read what `save` wrote.

        Returns:
            The statistics, and `about`.

        Raises:
            InputError: There is no such file, or it holds no statistics.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                header = json.loads((file.metadata() or {})["terrasynth"])
                mean, upper = (file.get_tensor(name).astype(np.float64) for name in ("mean", "covariance"))
            if header["kind"] != KIND:
                raise ValueError(f"kind {header['kind']!r}")
            statistics = cls(len(mean))
            statistics.n, statistics.mean = int(header["n"]), mean
            rows, columns = np.triu_indices(len(mean))
            statistics._scatter[rows, columns] = statistics._scatter[columns, rows] = upper * (statistics.n - 1)
            return statistics, dict(header["about"])
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise InputError(
                f"{path}: not readable as feature statistics ({one_line(error)}); make them with FeatureStatistics.save"
            ) from error

    def _take(self, values: NDArray[np.float64]) -> None:
        """Take in rows that nobody else holds: they are centered in place."""
        mean = values.mean(0)
        if not np.isfinite(mean).all():
            raise ValueError("features: some are not finite; look for an overflow in the network's precision")
        values -= mean
        self._add(len(values), mean, values.T @ values)

    def _add(self, n: int, mean: NDArray[np.float64], scatter: NDArray[np.float64]) -> None:
        if not n:
            return
        total = self.n + n
        difference = mean - self.mean
        self._scatter += scatter
        if self.n:
            self._scatter += np.outer(difference, difference * (self.n * n / total))
        self.mean = self.mean + difference * (n / total)
        self.n = total
