"""The filter `duplicate`: was nearly the same picture accepted before?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from synthesis.filter_base import THUMBNAIL, ClassJudge, FilterSettings, Measurements, Source

if TYPE_CHECKING:
    from eval import Encoder

CHUNK_ROWS = 4096


class DuplicateFilter(FilterSettings):
    """Keeps pictures that are not too close to one accepted before in the same class.

    Attributes:
        encoder: "thumbnail", or the model reference of an encoder; dual encoders put all pictures of a class near
            each other, so that a threshold on their cosines has to be chosen with care.
        max_similarity: Highest cosine to any earlier accepted picture of the class, -1 .. 1.
    """

    against_copies: ClassVar[bool] = True

    kind: Literal["duplicate"] = "duplicate"
    encoder: str = THUMBNAIL
    max_similarity: float = Field(ge=-1, le=1)

    @property
    @override
    def source(self) -> Source:
        return Source("embeddings", self.encoder)

    @override
    def judge(self, label: str, model: Encoder, scratch: Path) -> ClassJudge:
        """A judge that remembers the accepted pictures on disk."""
        return _DuplicateJudge(self.max_similarity, scratch)


class _DuplicateJudge(ClassJudge):
    def __init__(self, max_similarity: float, scratch: Path) -> None:
        self.threshold = max_similarity
        # The accepted embeddings live in an unnamed file: memory stays flat however long the run, and a kill leaves
        # nothing behind.
        self._accepted = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - lives as long as the judge
        self._rows: NDArray[np.float64] = np.empty((0, 0))
        self._closest: NDArray[np.float64] = np.empty(0)

    @override
    def begin(self, measurements: Measurements) -> None:
        self._rows = measurements.embeddings.astype(np.float64)
        self._closest = np.full(len(self._rows), -np.inf)
        width = self._rows.shape[1]
        self._accepted.seek(0)
        while chunk := self._accepted.read(CHUNK_ROWS * width * 4):
            earlier = np.frombuffer(chunk, np.float32).reshape(-1, width).astype(np.float64)
            np.maximum(self._closest, (self._rows @ earlier.T).max(axis=1), out=self._closest)

    @override
    def score(self, row: int) -> float | None:
        # Rounded, so that the order in which a chunk is summed can never decide.
        closest = round(float(self._closest[row]), 6)
        return None if closest == -np.inf else closest

    @override
    def passes(self, score: float | None) -> bool:
        return score is None or score <= self.threshold

    @override
    def keep(self, row: int) -> None:
        np.maximum(self._closest, self._rows @ self._rows[row], out=self._closest)
        self._append(self._rows[row].astype(np.float32))

    def _append(self, embeddings: NDArray[np.float32]) -> None:
        self._accepted.seek(0, 2)
        self._accepted.write(embeddings.tobytes())
