"""The filter `duplicate`: was nearly the same image accepted before?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from terrasynth.synthesis.filters.base import (
    EMBEDDINGS,
    THUMBNAIL,
    ClassJudge,
    FilterSettings,
    Measurements,
    Source,
)
from terrasynth.synthesis.filters.scratch import scratch_file

if TYPE_CHECKING:
    from terrasynth.eval import Encoder

CHUNK_BYTES = 2**15  # of a class in memory, and read at once


class DuplicateFilter(FilterSettings):
    """Keeps images that are not too close to one accepted before in the same class.

    Attributes:
        encoder: "thumbnail", or the model reference of an encoder; dual encoders put all images of a class near
            each other, so that a threshold on their cosines has to be chosen with care.
        max_similarity: Highest cosine to any earlier accepted image of the class, -1 .. 1.
    """

    against_copies: ClassVar[bool] = True
    on_content: ClassVar[bool] = False

    kind: Literal["duplicate"] = "duplicate"
    encoder: str = THUMBNAIL
    max_similarity: float = Field(ge=-1, le=1)

    @property
    @override
    def source(self) -> Source:
        return Source(EMBEDDINGS, self.encoder)

    @override
    def judge(self, label: str, model: Encoder, scratch: Path) -> ClassJudge:
        """A judge that remembers the accepted images on disk."""
        return _DuplicateJudge(self.max_similarity, scratch)


class _DuplicateJudge(ClassJudge):
    def __init__(self, max_similarity: float, scratch: Path) -> None:
        self.threshold = max_similarity
        self._scratch = scratch_file(scratch)
        self._places: list[tuple[int, int]] = []  # of accepted embeddings in that file, in the order of acceptance
        self._recent = bytearray()  # the last ones, not written yet
        self._rows: NDArray[np.float64] = np.empty((0, 0))
        self._closest: NDArray[np.float64] = np.empty(0)

    @override
    def begin(self, measurements: Measurements) -> None:
        self._rows = measurements.of(EMBEDDINGS).astype(np.float64)
        self._closest = np.full(len(self._rows), -np.inf)
        for chunk in self._chunks():
            earlier = np.frombuffer(chunk, np.float32).reshape(-1, self._rows.shape[1]).astype(np.float64)
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
        self._recent += self._rows[row].astype(np.float32).tobytes()
        if len(self._recent) >= CHUNK_BYTES:
            self._places.append(self._scratch.append(bytes(self._recent)))
            self._recent.clear()

    def _chunks(self) -> Iterator[bytes]:
        for start, size in self._places:
            yield self._scratch.read(start, size)
        if self._recent:
            yield bytes(self._recent)
