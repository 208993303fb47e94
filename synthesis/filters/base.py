"""What every filter is made of: what it measures with, its settings in a recipe, and its judge of one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

THUMBNAIL = "thumbnail"


@dataclass(frozen=True)
class Measurements:
    """What one model says about the attempts of one block.

    Attributes:
        alignment: float32 (N,), cosine between picture and text, -1 .. 1; NaN from a model that reads no text.
        embeddings: float32 (N, D), one row of numbers a picture: the L2-normalised embedding of an encoder, the class
            probabilities of a scene classifier, what `terrasynth.eval.metrics.picture_quality` measures, or layout and
            detail (`terrasynth.eval.models.thumbnail`).
    """

    alignment: NDArray[np.float32]
    embeddings: NDArray[np.float32]

    def rows(self, start: int, stop: int) -> Measurements:
        """Those of the attempts `start` to `stop - 1` of the block."""
        return Measurements(self.alignment[start:stop], self.embeddings[start:stop])

    def where(self, chosen: NDArray[np.bool_]) -> Measurements:
        """Those of the chosen attempts of the block, in order; `chosen` is (N,)."""
        return Measurements(self.alignment[chosen], self.embeddings[chosen])

    @staticmethod
    def joined(parts: Sequence[Measurements]) -> Measurements:
        """Those of several blocks, at least one, in order."""
        return Measurements(
            np.concatenate([part.alignment for part in parts]), np.concatenate([part.embeddings for part in parts])
        )


@dataclass(frozen=True)
class Source:
    """Where measurements come from.

    Attributes:
        gives: What the numbers are: "embeddings", "probabilities", "quality", "detail", or a word of its own where a
            filter brings its own measurer.
        reference: Model reference, or "thumbnail"; "" for what needs no model.
    """

    gives: str
    reference: str = ""


class Measurer(Protocol):
    """A model with the way it measures images.

    Attributes:
        model: What filters get to see; None where there is none.
    """

    model: Any

    def identity(self) -> dict[str, object]:
        """What decides the measurements, JSON-able; its hash is the key under which they are kept."""

    def measure(self, images: NDArray[np.uint8], texts: Sequence[str]) -> Measurements:
        """Measure images uint8 (N, H, W, 3) with their texts."""


class ClassJudge(ABC):
    """One filter's view of one class. Blocks arrive in order of k; only accepted attempts leave a trace.

    Attributes:
        threshold: The score that decides; it never depends on later attempts than the first `needs`.
        needs: Attempts of the class that have to be measured before the first one is judged; `learn` gets them.
    """

    threshold: float
    needs: int = 0

    @property
    def file(self) -> Mapping[str, object]:
        """The file that decides beside settings and model: hash of its `content`, what it holds; empty without one.

        JSON-able and without a path of this machine. Decisions that were made by another content are made again.
        """
        return {}

    def learn(self, first: Measurements) -> None:  # noqa: B027 - most filters learn nothing
        """The measurements of the first `needs` attempts of the class; called once, before the first `begin`."""

    @abstractmethod
    def begin(self, measurements: Measurements) -> None:
        """The next block's measurements."""

    @abstractmethod
    def score(self, row: int) -> float | None:
        """The filter's score of a row of the block, or None where there is nothing to compare with."""

    @abstractmethod
    def passes(self, score: float | None) -> bool:
        """Whether an attempt with this score may stay."""

    def keep(self, row: int) -> None:  # noqa: B027 - most filters remember nothing
        """The row of the block was accepted by every filter; called once for each accepted row, in order of k."""


class FilterSettings(BaseModel, ABC):
    """What every filter in a recipe has.

    Attributes:
        places: Fields that name a model or a file; of a local one only the last part of the path is ever shown.
        against_copies: The filter is there for variety, not for quality; its control looks at variety too.
        asks: Role of its model where texts or classes are given to it: "encoder" reads texts, "classifier" knows
            classes, "" does neither.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    places: ClassVar[tuple[str, ...]] = ("encoder",)
    against_copies: ClassVar[bool] = False
    asks: ClassVar[Literal["", "encoder", "classifier"]] = ""

    kind: str

    @property
    @abstractmethod
    def source(self) -> Source:
        """What the filter measures with."""

    @property
    def needs(self) -> int:
        """Attempts of a class that its threshold is taken from; 0 for none."""
        return 0

    def own_measurer(self, device: str) -> Measurer | None:
        """What measures for this filter, where `source` gives none of the kinds that `Source.gives` lists.

        Measurements are kept under the hash of its `identity()`: those of equal identity are made once.

        Args:
            device: A torch device.
        """
        return None

    def check(self, labels: Sequence[str], model: Any) -> None:  # noqa: ANN401 - what `source` names
        """Check that classes can be judged with a model.

        Args:
            labels: The classes.
            model: What `source` names, loaded.

        Raises:
            InputError: The model lacks what the filter needs.
        """

    def check_size(self, height: int, width: int) -> None:
        """Check that pictures of a size, in pixels, can be judged.

        Raises:
            InputError: They cannot.
        """

    @abstractmethod
    def judge(self, label: str, model: Any, scratch: Path) -> ClassJudge:  # noqa: ANN401
        """A fresh judge for the attempts of one class.

        Args:
            label: The class.
            model: What `source` names, loaded; its calibration may set the threshold.
            scratch: A folder on the run's disk for temporary files.
        """

    def describe(self) -> str:
        """The settings on one line, without a path of this machine."""
        values = self.model_dump(exclude_none=True, exclude={"kind"})
        for field in [place for place in self.places if place in values]:
            path = Path(values.pop(field))
            values[field] = path.name if path.is_absolute() or path.exists() else str(path)
        return ", ".join(f"{key} {value}" for key, value in values.items())


def one_of(**choices: object) -> None:
    """Check that exactly one of the named values is given.

    Raises:
        ValueError: None or several are; pydantic puts the place of the filter before the message.
    """
    given = [name for name, value in choices.items() if value is not None]
    if len(given) != 1:
        *others, last = choices
        raise ValueError(f"give exactly one of {', '.join(others)} and {last}")


@dataclass(frozen=True)
class NamedJudge:
    """A filter at work on one class.

    Attributes:
        name: The filter's name in reasons and scores.
        encoder: Key of the encoder whose measurements it judges.
        judge: The filter's view of the class.
    """

    name: str
    encoder: str
    judge: ClassJudge
