"""The report of an evaluation: one page that holds everything, pictures too, and the same figures as JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.eval.copies.perceptual_hash import turned
from terrasynth.eval.evaluation.confusion import Confusion
from terrasynth.eval.evaluation.findings import Finding
from terrasynth.eval.evaluation.guidance_sweep import SweepPoint
from terrasynth.eval.evaluation.record import notes_of, rows_of
from terrasynth.eval.pages.charts import ScoreHistogram, histogram_svg
from terrasynth.eval.pages.evaluation_charts import MOST_CLASSES, confusion_svg, sweep_charts
from terrasynth.eval.pages.run_report import TEMPLATES
from terrasynth.eval.pages.spectrum_chart import spectrum_svg

if TYPE_CHECKING:
    from terrasynth.eval.copies.memorisation import Memorisation, NearPair
    from terrasynth.eval.evaluation.record import Evaluation

SIDE = 160
"""Most pixels a side of a picture on the page; larger ones are made smaller, none is made larger."""

MISTAKES = 10


@dataclass(frozen=True)
class Shown:
    """A picture with what it takes to find it again.

    Attributes:
        image: `uint8` (H, W, 3).
        id: Of its row.
        seed: Of its noise; None where it is not known.
        label: Class that was asked for.
        text: What was asked for.
        score: CLIP score.
        probability: What the classifier gives to its class.
        seen: What the classifier sees.
    """

    image: NDArray[np.uint8]
    id: str
    seed: int | None
    label: str
    text: str
    score: float
    probability: float
    seen: str


@dataclass(frozen=True)
class Gallery:
    """Pictures in order of one figure.

    Attributes:
        title: What they are the best or the worst of.
        pictures: The most extreme one first.
    """

    title: str
    pictures: tuple[Shown, ...]


@dataclass(frozen=True)
class NearestPair:
    """A picture beside its nearest training picture.

    Attributes:
        pair: Rows, distance, and how the first is to be turned to lie on the second.
        picture: The first.
        train: The training picture, `uint8` (H, W, 3).
        train_label: Its class, or "".
    """

    pair: NearPair
    picture: Shown
    train: NDArray[np.uint8]
    train_label: str


class ReferenceLine(Protocol):
    """A distance to statistics of real pictures."""

    def line(self) -> str:
        """In words, with n, floor, network and seed."""

    def to_json(self) -> dict[str, object]:
        """Nested plain data."""


@dataclass(frozen=True)
class EvaluationReport:
    """What the page shows: plain data, so that anything can fill it.

    Attributes:
        name: Of what was judged.
        identity: Hash of what decides a picture; "" where there is none.
        about: Name -> value of what was judged and with what, in the order to show.
        evaluation: The figures.
        findings: What to know first.
        confusion: Of these pictures.
        real_confusion: Of real pictures; None without.
        histograms: Scores of accepted and rejected attempts, one for each filter.
        galleries: Best and worst pictures.
        copies: Distances to training pictures; None without.
        pairs: The nearest of them.
        sweep: Runs that differ in guidance, in its order; empty for none.
        absent: What is not on the page -> why not.
        references: Distances to statistics of real pictures that are not at hand.
    """

    name: str
    identity: str
    about: Mapping[str, object]
    evaluation: Evaluation
    findings: tuple[Finding, ...]
    confusion: Confusion
    real_confusion: Confusion | None = None
    histograms: tuple[ScoreHistogram, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    copies: Memorisation | None = None
    pairs: tuple[NearestPair, ...] = ()
    sweep: tuple[SweepPoint, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    references: tuple[ReferenceLine, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Nested plain data, without the pictures; each is named by id and seed."""
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


def write_evaluation_report(folder: Path, report: EvaluationReport) -> Path:
    """Write `report.json` and, last, `index.html`, which needs no other file.

    The same report always gives the same bytes.

    Args:
        folder: Made if it does not exist.
        report: What to show.

    Returns:
        The path of the page.

    Raises:
        OSError: The folder cannot be written to.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )
    environment.globals |= {"inline": inline, "turned": _turned}
    rows = rows_of(report.evaluation)
    page = environment.get_template("evaluation.html.j2").render(
        report=report, rows=[row for row in rows if row.value != "not measured"],
        missing=[row for row in rows if row.value == "not measured"], notes=notes_of(rows),
        classes=report.confusion.accuracy(), matrices=_matrices(report), mistakes=_mistakes(report),
        real_classes={} if report.real_confusion is None else report.real_confusion.accuracy(),
        charts=[(histogram, histogram_svg(histogram)) for histogram in report.histograms],
        spectrum=_spectrum(report.evaluation), sweep_charts=sweep_charts(report.sweep) if report.sweep else [],
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    index = folder / "index.html"
    index.write_text(page, "utf-8")
    return index


def extremes(values: NDArray[np.floating], count: int) -> tuple[list[int], list[int]]:
    """Rows of the largest and of the smallest values, the most extreme first; no row is in both.

    Args:
        values: One a picture (N,).
        count: At most so many of each.
    """
    order = [int(row) for row in np.argsort(values, kind="stable")]
    most = min(count, len(order) // 2)
    return order[::-1][:most], order[:most]


def inline(image: NDArray[np.uint8]) -> str:
    """A picture `uint8` (H, W, 3) as a data URI: PNG, made smaller where it is larger than `SIDE`, else untouched."""
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _turned(image: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(turned(image[None], view)[0])


def _matrices(report: EvaluationReport) -> list[tuple[str, Confusion, str]]:
    """Title, counts and SVG of each confusion matrix; no SVG where there are too many classes to read one."""
    named = (("Generated pictures", report.confusion), ("Real pictures", report.real_confusion))
    return [
        (title, each, confusion_svg(each, title.lower()) if len(each.seen) <= MOST_CLASSES else "")
        for title, each in named if each is not None
    ]


def _spectrum(evaluation: Evaluation) -> str:
    found, coded = evaluation.realism, evaluation.coded
    if found is None:
        return ""
    curves = {"real": ("real pictures", found.spectrum.real), "generated": ("these pictures", found.spectrum.generated)}
    if coded is not None:
        curves["coded"] = ("real pictures, coded and decoded", coded.spectrum.generated)
    return spectrum_svg(found.spectrum.frequency, curves)


def _mistakes(report: EvaluationReport) -> list[tuple[str, str, str, str]]:
    """The most frequent mistakes in words: asked, seen, how many, how many of the real ones."""
    found = []
    for each in report.confusion.mistakes(MISTAKES):
        real = None if report.real_confusion is None else report.real_confusion.count(each.asked, each.seen)
        found.append((each.asked, each.seen, f"{each.count} of {each.n}", "" if real is None else f"{real[0]} of "
                      f"{real[1]}"))
    return found


def _confusion(one: Confusion | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {**asdict(one), "n": one.n, "accuracy": {label: asdict(each) for label, each in one.accuracy().items()}}


def _picture(one: Shown) -> dict[str, object]:
    return {
        "id": one.id, "seed": one.seed, "label": one.label, "text": one.text, "clip_score": one.score,
        "probability": one.probability, "seen": one.seen,
    }


def pick(pictures: Sequence[Shown], rows: Iterable[int]) -> tuple[Shown, ...]:
    """Some of the pictures, in the order of `rows`."""
    return tuple(pictures[row] for row in rows)
