"""What every filter is made of: what it measures with, its settings in a recipe, and its judge of one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.identity import Identity

THUMBNAIL = "thumbnail"
EMBEDDINGS, PROBABILITIES, QUALITY, DETAIL = "embeddings", "probabilities", "quality", "detail"
AGREEMENT = "agreement"
NOTHING = ""
"""What a filter measures that looks at no image."""


@dataclass(frozen=True)
class Measurements:
    """What one model says about the N attempts of one block.

    Attributes:
        kind: What the numbers are: the `Source.gives` of the filters that read them.
        numbers: float32 (N, D), one row an image: L2-normalized embeddings, class probabilities, measures of quality
            with height and width (`terrasynth.synthesis.filters.measurers`), layout and detail of thumbnails,
            confusions with a layout, or what the measurer of a plug-in gives. Filters read them by `of`.
        alignment: float32 (N,), cosine between image and text, -1 .. 1; None from a model that reads no text. Filters
            read it by `cosines`.
        after: Of attempts that are pairs, what the model says about the N images after; None of single images.

    Raises:
        ValueError: The numbers are no such arrays.
    """

    kind: str
    numbers: NDArray[np.float32]
    alignment: NDArray[np.float32] | None = None
    after: Measurements | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.numbers.ndim != 2:
            raise ValueError(f"measurements are a kind and numbers (N, D), not {type(self.kind).__name__} and "
                             f"{self.numbers.shape}; write Measurements('probabilities', numbers)")
        if self.alignment is not None and self.alignment.shape != self.numbers.shape[:1]:
            raise ValueError(f"{len(self.numbers)} images have no alignment of shape {self.alignment.shape}; give one "
                             "number an image")
        if self.after is not None and (self.after.kind != self.kind or len(self.after) != len(self)):
            raise ValueError(f"{len(self)} pairs measured as {self.kind!r} have {len(self.after)} images after, "
                             f"measured as {self.after.kind!r}")

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, kind: str) -> NDArray[np.float32]:
        """The numbers, float32 (N, D), by whoever expects this kind.

        Raises:
            RunError: They are of another kind.
        """
        if kind != self.kind:
            raise RunError(f"a filter reads {kind!r} and its model measured {self.kind!r}; the filter's `source` has "
                           f"to give {kind!r}")
        return self.numbers

    def cosines(self) -> NDArray[np.float32]:
        """The alignment, float32 (N,).

        Raises:
            RunError: The model read no text.
        """
        if self.alignment is None:
            raise RunError(f"a filter reads the alignment of image and text, and its model measured {self.kind!r} "
                           "without reading a text; name a model that reads text")
        return self.alignment

    def rows(self, start: int, stop: int) -> Measurements:
        """Those of the attempts `start` to `stop - 1` of the block."""
        return self._take(slice(start, stop))

    def where(self, chosen: NDArray[np.bool_]) -> Measurements:
        """Those of the chosen attempts of the block, in order; `chosen` is (N,)."""
        return self._take(chosen)

    @staticmethod
    def none(rows: int) -> Measurements:
        """Those of a filter that looks at no image."""
        return Measurements(NOTHING, np.empty((rows, 0), np.float32))

    @staticmethod
    def joined(parts: Sequence[Measurements]) -> Measurements:
        """Those of several blocks by one model, at least one, in order."""
        kind = parts[0].kind
        numbers = np.concatenate([part.of(kind) for part in parts])
        alignment = None if parts[0].alignment is None else np.concatenate([part.cosines() for part in parts])
        later = [part.after for part in parts if part.after is not None]
        return Measurements(kind, numbers, alignment, Measurements.joined(later) if later else None)

    def both(self) -> Measurements:
        """Those of all images: of the N before, then of the N after, where the attempts are pairs."""
        if self.after is None:
            return self
        return Measurements.joined([replace(self, after=None), self.after])

    def _take(self, rows: slice | NDArray[np.bool_]) -> Measurements:
        return Measurements(self.kind, self.numbers[rows], None if self.alignment is None else self.alignment[rows],
                            None if self.after is None else self.after._take(rows))


@dataclass(frozen=True)
class Source:
    """Where measurements come from.

    Attributes:
        gives: Kind of the measurements: `EMBEDDINGS`, `PROBABILITIES`, `QUALITY`, `DETAIL`, `AGREEMENT`, or a word of
            its own where a filter brings its own measurer; `NOTHING` where it looks at no image.
        reference: Model reference, or "thumbnail"; "" for what needs no model.
    """

    gives: str
    reference: str = ""


class Measurer(Protocol):
    """A model with the way it measures images.

    Attributes:
        model: What filters get to see; None where there is none. Measurements have an alignment where it has an
            attribute `reads_text` that is true.

    One with an attribute `reads_layouts` that is true is given the layouts of the images, too: `measure(images, texts,
    layouts)`, where "" stands for an image that was shown none.
    """

    model: Any

    def identity(self) -> dict[str, object]:
        """What decides the measurements, JSON-able; its hash is the key under which they are kept."""

    def measure(self, images: NDArray[np.uint8], texts: Sequence[str]) -> Measurements:
        """Measure images uint8 (N, H, W, 3) with their texts; the kind is that of the filter's `source`."""


class ClassJudge(ABC):
    """One filter's view of one class. Blocks arrive in order of k; only accepted attempts leave a trace.

    Attributes:
        threshold: The score that decides; it never depends on later attempts than the first `needs`.
        needs: Attempts of the class that have to be measured before the first one is judged; `learn` gets them.
        remembers: What it says of an attempt depends on earlier blocks, beyond `learn` and the first `begin`. A run
            that is resumed shows them again, then; for a judge that sets this to False it need not read them (`skip`).
    """

    threshold: float
    needs: int = 0
    remembers: bool = True

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

    def waits(self, score: float | None) -> bool:
        """Whether somebody has yet to say if an attempt may stay that does not pass with this score.

        Attempts that wait and are passed by all other filters count among those that a target asks for: no further
        ones are drawn in their place.
        """
        return False

    def keep(self, row: int) -> None:  # noqa: B027 - most filters remember nothing
        """The row of the block was accepted by every filter; called once for each accepted row, in order of k."""

    def skip(self, rows: int) -> None:  # noqa: B027 - most filters count nothing
        """So many next attempts, of whole blocks, were decided on before and are not shown again.

        Called only where `remembers` is False, and after the first `begin`.
        """


class FilterSettings(BaseModel, ABC):
    """What every filter in a recipe has.

    Attributes:
        places: Fields that name a model or a file; of a local one only the last part of the path is ever shown.
        against_copies: The filter is there for variety, not for quality; its control looks at variety too.
        asks: Role of its model where texts or classes are given to it: "encoder" reads texts, "classifier" knows
            classes, "" does neither.
        on_content: The filter judges what an image shows; False for one that looks at copies or at blur alone.
        last: It has to be the last filter of a recipe, and the only one of its kind.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    places: ClassVar[tuple[str, ...]] = ("encoder",)
    against_copies: ClassVar[bool] = False
    asks: ClassVar[Literal["", "encoder", "classifier"]] = ""
    on_content: ClassVar[bool] = True
    last: ClassVar[bool] = False

    kind: str

    @property
    @abstractmethod
    def source(self) -> Source:
        """What the filter measures with."""

    @property
    def needs(self) -> int:
        """Attempts of a class that its threshold is taken from; 0 for none."""
        return 0

    @property
    def rejects(self) -> int:
        """Attempts among these that its threshold rejects whatever they show, where no two have one score."""
        return 0

    def own_measurer(self, device: str) -> Measurer | None:
        """What measures for this filter, where `source` gives none of the kinds that `Source.gives` lists.

        Measurements are kept under the hash of its `identity()`: those of equal identity are made once.

        Args:
            device: A torch device.
        """
        return None

    def read_run(self, root: Path, identity: Identity) -> Any:  # noqa: ANN401 - whatever its judges take
        """What the filter reads in the run directory that it judges; its judges get it in place of a model.

        It is read once for all classes. None for a filter that reads nothing there.

        Args:
            root: The run directory, which may not exist yet.
            identity: Of the run.

        Raises:
            InputError: What lies there belongs to another run.
            RunError: It is damaged.
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
            model: What `source` names, loaded, whose calibration may set the threshold; or what `read_run` gave.
            scratch: A folder on the run's disk for temporary files.
        """

    def describe(self) -> str:
        """The settings on one line, without a path of this machine."""
        values = self.model_dump(exclude_none=True, exclude={"kind"})
        for field in [place for place in self.places if place in values]:
            path = Path(values.pop(field))
            values[field] = path.name if path.is_absolute() or path.exists() else str(path)
        return ", ".join(f"{key} {value}" for key, value in values.items())


LOOSER: Mapping[str, str] = {"min": "lower", "max": "higher", "pass_real": "higher", "quantile": "lower",
                             "top": "higher"}
"""Options of filters, or the first word of their names -> in which direction a filter lets more images pass."""


def looser_options(settings: FilterSettings) -> list[str]:
    """What of a filter's settings lets more images pass, each with its direction; none where it has no such number.

    Example:
        >>> from terrasynth.synthesis.filters.base import looser_options
        >>> from terrasynth.synthesis.filters.duplicate import DuplicateFilter
        >>> looser_options(DuplicateFilter(encoder="clip-ucm", max_similarity=0.9))
        ['max_similarity higher']
    """
    given = settings.model_dump(exclude_none=True, exclude={"kind"})
    found = ((name, LOOSER.get(name) or LOOSER.get(name.partition("_")[0])) for name, value in given.items()
             if isinstance(value, int | float))
    return [f"{name} {direction}" for name, direction in found if direction]


def one_of(**choices: object) -> None:
    """Check that exactly one of the named values is given.

    Raises:
        ValueError: None or several are; pydantic puts the place of the filter before the message.
    """
    given = [name for name, value in choices.items() if value is not None]
    if len(given) != 1:
        *others, last = choices
        several = f"; take one out of {' and '.join(given)}, as with --set filters.N.{given[-1]}=null" if given else ""
        raise ValueError(f"give exactly one of {', '.join(others)} and {last}{several}")


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
