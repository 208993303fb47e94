"""What the page of an evaluation shows, as records, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.evaluation.confusion import Confusion
from terrasynth.eval.evaluation.findings import Finding
from terrasynth.eval.evaluation.guidance_sweep import SweepPoint
from terrasynth.eval.evaluation.record import rows_of
from terrasynth.eval.pages.charts import ScoreHistogram

if TYPE_CHECKING:
    from terrasynth.eval.copies.memorisation import Memorisation, NearPair
    from terrasynth.eval.evaluation.record import Evaluation


@dataclass(frozen=True)
class Shown:
    """An image with what it takes to find it again.

    Attributes:
        image: `uint8` (H, W, 3).
        id: Of its row.
        seed: Of its noise; None where it is not known.
        label: Class that was asked for.
        text: What was asked for.
        score: CLIP score.
        probability: What the classifier gives to its class; None where it does not know every class.
        seen: What the classifier sees.
    """

    image: NDArray[np.uint8]
    id: str
    seed: int | None
    label: str
    text: str
    score: float
    probability: float | None
    seen: str


@dataclass(frozen=True)
class Gallery:
    """Images in order of one figure.

    Attributes:
        title: What they are the best or the worst of.
        pictures: The most extreme one first.
    """

    title: str
    pictures: tuple[Shown, ...]


@dataclass(frozen=True)
class NearestPair:
    """An image beside its nearest training image.

    Attributes:
        pair: Rows, distance, and how the first is to be turned to lie on the second.
        picture: The first.
        train: The training image, `uint8` (H, W, 3).
        train_label: Its class, or "".
    """

    pair: NearPair
    picture: Shown
    train: NDArray[np.uint8]
    train_label: str


class ReferenceLine(Protocol):
    """A distance to statistics of real images."""

    def line(self) -> str:
        """In words, with n, floor, network and seed."""

    def to_json(self) -> dict[str, object]:
        """Nested plain data."""


@dataclass(frozen=True)
class EvaluationReport:
    """What the page shows: plain data, so that anything can fill it.

    Attributes:
        name: Of what was judged.
        identity: Hash of what decides an image; "" where there is none.
        about: Name -> value of what was judged and with what, in the order to show.
        findings: What to know first.
        confusion: Of these images; None where the classifier does not know their classes.
        real_confusion: Of real images; None without.
        histograms: Scores of accepted and rejected attempts, one for each filter.
        galleries: Best and worst images.
        copies: Distances to training images; None without.
        pairs: The nearest of them.
        sweep: Runs that differ in guidance, in its order; empty for none.
        absent: What is not on the page -> why not.
        references: Distances to statistics of real images that are not at hand.
    """

    name: str
    identity: str
    about: Mapping[str, object]
    evaluation: Evaluation
    findings: tuple[Finding, ...]
    confusion: Confusion | None
    real_confusion: Confusion | None = None
    histograms: tuple[ScoreHistogram, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    copies: Memorisation | None = None
    pairs: tuple[NearestPair, ...] = ()
    sweep: tuple[SweepPoint, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    references: tuple[ReferenceLine, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Nested plain data, without the images; each is named by id and seed."""
        return {
            "name": self.name, "identity": self.identity, "about": dict(self.about),
            "findings": [asdict(each) for each in self.findings],
            "figures": self.evaluation.to_json(),
            "table": [asdict(row) for row in rows_of(self.evaluation)],
            "classes": {"generated": _confusion(self.confusion), "real": _confusion(self.real_confusion)},
            "histograms": [asdict(each) for each in self.histograms],
            "pictures": {each.title: [_picture(one) for one in each.pictures] for each in self.galleries},
            "copies": None if self.copies is None else self.copies.to_json(),
            "pairs": [
                {**asdict(each.pair), "picture": _picture(each.picture), "train_label": each.train_label}
                for each in self.pairs
            ],
            "sweep": [each.to_json() for each in self.sweep],
            "references": [each.to_json() for each in self.references],
            "absent": dict(self.absent),
        }


def extremes(values: NDArray[np.floating], count: int) -> tuple[list[int], list[int]]:
    """Rows of the largest and of the smallest values, the most extreme first; no row is in both.

    Args:
        values: One for each image (N,).
        count: At most so many of each.
    """
    order = [int(row) for row in np.argsort(values, kind="stable")]
    most = min(count, len(order) // 2)
    return order[::-1][:most], order[:most]


def _confusion(one: Confusion | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {**asdict(one), "n": one.n, "accuracy": {label: asdict(each) for label, each in one.accuracy().items()}}


def _picture(one: Shown) -> dict[str, object]:
    return {
        "id": one.id, "seed": one.seed, "label": one.label, "text": one.text, "clip_score": one.score,
        "probability": one.probability, "seen": one.seen,
    }
