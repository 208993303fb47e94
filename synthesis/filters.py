"""The filters a recipe may list: their settings, and how each judges the attempts of one class in order of k.

To add a filter, write a `FilterSettings` subclass with `judge`, and add it to `AnyFilter`: nothing else names filters.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from synthesis.errors import InputError

if TYPE_CHECKING:
    from eval import Encoder

DEFAULT_ENCODER = "clip-ucm"
THUMBNAIL = "thumbnail"
CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Measurements:
    """What one encoder says about the attempts of one block.

    Attributes:
        alignment: float32 (N,), cosine between picture and text, -1 .. 1; NaN from an encoder that reads no text.
        embeddings: float32 (N, D), L2-normalised picture embeddings.
    """

    alignment: NDArray[np.float32]
    embeddings: NDArray[np.float32]


class ClassJudge(Protocol):
    """One filter's view of one class. Blocks arrive in order of k; only accepted attempts leave a trace.

    Attributes:
        threshold: The score that decides; it never depends on later attempts.
    """

    threshold: float

    def begin(self, measurements: Measurements) -> None:
        """The next block's measurements."""

    def score(self, row: int) -> float | None:
        """The filter's score of a row of the block, or None where there is nothing to compare with."""

    def passes(self, score: float | None) -> bool:
        """Whether an attempt with this score may stay."""

    def keep(self, row: int) -> None:
        """The row was accepted by every filter."""


class FilterSettings(BaseModel, ABC):
    """What every filter in a recipe has."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str
    encoder: str

    def check(self, labels: Sequence[str], encoder: Encoder) -> None:
        """Check that classes can be judged with an encoder.

        Raises:
            InputError: The encoder lacks what the filter needs.
        """

    @abstractmethod
    def judge(self, label: str, encoder: Encoder, scratch: Path) -> ClassJudge:
        """A fresh judge for the attempts of one class.

        Args:
            label: The class.
            encoder: The encoder that this filter names; its calibration may set the threshold.
            scratch: A folder on the run's disk for temporary files.
        """


class AlignmentFilter(FilterSettings):
    """Keeps pictures whose cosine with their text is high enough.

    Attributes:
        encoder: Model reference of the encoder.
        min_score: Absolute threshold, -1 .. 1.
        pass_real: Or: the score that this share (0 .. 1) of the real pairs of the class reaches, from the
            calibration shipped with the encoder.
    """

    kind: Literal["alignment"] = "alignment"
    encoder: str = DEFAULT_ENCODER
    min_score: float | None = Field(default=None, ge=-1, le=1)
    pass_real: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_threshold(self) -> AlignmentFilter:
        if (self.min_score is None) == (self.pass_real is None):
            raise ValueError("give exactly one of min_score and pass_real")
        return self

    def threshold(self, label: str, encoder: Encoder) -> float:
        """The lowest score that passes for a class.

        Raises:
            InputError: `pass_real` with an encoder that has no calibration.
        """
        if self.min_score is not None:
            return self.min_score
        if encoder.calibration is None or self.pass_real is None:
            raise InputError(
                f"pass_real {self.pass_real}: encoder {self.encoder!r} has no calibration.json beside its weights; "
                "use min_score instead, or an encoder with a calibration"
            )
        return float(encoder.calibration.threshold(label, self.pass_real))

    def check(self, labels: Sequence[str], encoder: Encoder) -> None:
        """Check that there is a threshold for every class.

        Raises:
            InputError: `pass_real` with an encoder that has no calibration, or that of other weights.
        """
        if not encoder.reads_text:
            raise InputError(f"encoder {self.encoder!r} of the alignment filter reads no text; use a dual encoder such "
                             f"as {DEFAULT_ENCODER!r}")
        calibration = encoder.calibration
        if self.pass_real is not None and calibration is not None:
            measured, loaded = calibration.encoder.get("content"), encoder.identity().get("content")
            if measured != loaded:
                raise InputError(
                    f"pass_real {self.pass_real}: the calibration.json of encoder {self.encoder!r} was measured with "
                    f"weights {measured}, and these are {loaded}; calibrate again, or use min_score"
                )
        for label in labels:
            self.threshold(label, encoder)

    def judge(self, label: str, encoder: Encoder, scratch: Path) -> ClassJudge:
        """A judge with the class's threshold."""
        return _AlignmentJudge(self.threshold(label, encoder))


class DuplicateFilter(FilterSettings):
    """Keeps pictures that are not too close to one accepted before in the same class.

    Attributes:
        encoder: "thumbnail", or the model reference of an encoder; dual encoders put all pictures of a class near
            each other, so that a threshold on their cosines has to be chosen with care.
        max_similarity: Highest cosine to any earlier accepted picture of the class, -1 .. 1.
    """

    kind: Literal["duplicate"] = "duplicate"
    encoder: str = THUMBNAIL
    max_similarity: float = Field(ge=-1, le=1)

    def judge(self, label: str, encoder: Encoder, scratch: Path) -> ClassJudge:
        """A judge that remembers the accepted pictures on disk."""
        return _DuplicateJudge(self.max_similarity, scratch)


AnyFilter = Annotated[AlignmentFilter | DuplicateFilter, Field(discriminator="kind")]
FILTERS: Mapping[str, type[FilterSettings]] = {
    member.model_fields["kind"].default: member for member in get_args(get_args(AnyFilter)[0])
}


class _AlignmentJudge:
    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._scores: NDArray[np.float32] = np.empty(0, np.float32)

    def begin(self, measurements: Measurements) -> None:
        self._scores = measurements.alignment

    def score(self, row: int) -> float | None:
        return float(self._scores[row])

    def passes(self, score: float | None) -> bool:
        return score is not None and score >= self.threshold

    def keep(self, row: int) -> None:
        """Nothing to remember: the threshold depends on no other attempt."""


class _DuplicateJudge:
    def __init__(self, max_similarity: float, scratch: Path) -> None:
        self.threshold = max_similarity
        # The accepted embeddings live in an unnamed file: memory stays flat however long the run, and a kill leaves
        # nothing behind.
        self._accepted = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - lives as long as the judge
        self._rows: NDArray[np.float64] = np.empty((0, 0))
        self._closest: NDArray[np.float64] = np.empty(0)

    def begin(self, measurements: Measurements) -> None:
        self._rows = measurements.embeddings.astype(np.float64)
        self._closest = np.full(len(self._rows), -np.inf)
        width = self._rows.shape[1]
        self._accepted.seek(0)
        while chunk := self._accepted.read(CHUNK_ROWS * width * 4):
            earlier = np.frombuffer(chunk, np.float32).reshape(-1, width).astype(np.float64)
            np.maximum(self._closest, (self._rows @ earlier.T).max(axis=1), out=self._closest)

    def score(self, row: int) -> float | None:
        # Rounded, so that the order in which a chunk is summed can never decide.
        closest = round(float(self._closest[row]), 6)
        return None if closest == -np.inf else closest

    def passes(self, score: float | None) -> bool:
        return score is None or score <= self.threshold

    def keep(self, row: int) -> None:
        np.maximum(self._closest, self._rows @ self._rows[row], out=self._closest)
        self._accepted.seek(0, 2)
        self._accepted.write(self._rows[row].astype(np.float32).tobytes())
