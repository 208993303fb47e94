"""Everything that the page of an evaluation shows, collected from a run, from real images and from other runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.eval.evaluation.figures import network_name
from terrasynth.synthesis.cards.run_report import ITS_FILE
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, disk_errors, one_line
from terrasynth.synthesis.core.real_pictures import RealPictures
from terrasynth.synthesis.filters.base import THUMBNAIL
from terrasynth.synthesis.generators.autoencoders import local_autoencoder
from terrasynth.synthesis.generators.control import local_control
from terrasynth.synthesis.generators.lora import local_lora
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.studies.copies import HASH, load_measures
from terrasynth.synthesis.studies.evaluation import JudgedRun

if TYPE_CHECKING:
    from terrasynth.eval.copies.memorisation import Memorisation
    from terrasynth.eval.evaluation.guidance_sweep import SweepPoint
    from terrasynth.eval.pages.charts import ScoreHistogram
    from terrasynth.eval.pages.evaluation_report import EvaluationReport, Gallery, NearestPair, Shown
    from terrasynth.synthesis.studies.reference import ReferenceDistance

SHOWN = 6
"""Images of each kind on the page."""

PAIRS = 4
"""Nearest pairs of each measure on the page."""


def collect(
    record: RunDirectory, run: JudgedRun, *, about: Mapping[str, object], copies: Copies | None = None,
    sweep: Sequence[SweepPoint] = (), absent: Mapping[str, str] | None = None,
    references: Sequence[ReferenceDistance] = (),
) -> EvaluationReport:
    """The page of a judged run.

    Args:
        record: What the run says of itself.
        run: What was found of its images.
        about: What else to say of how it was measured.
        copies: Its distances to training images; None without.
        sweep: The figures of this and of other runs, in order of guidance.
        absent: What could not be had -> why not.
        references: Distances to statistics of real images.
    """
    from terrasynth.eval.evaluation.confusion import confusion
    from terrasynth.eval.evaluation.findings import findings
    from terrasynth.eval.pages.evaluation_report import EvaluationReport

    shown = _shown(run)
    own = None if run.judged.strangers else confusion(run.judged)
    real = None if run.real is None or run.real.labels is None or run.real.strangers else confusion(run.real)
    histograms, reason = _histograms(record.root)
    missing = dict(absent or {}) | ({"Score histograms": reason} if reason else {})
    if own is None:
        missing["Classes"] = (f"the classifier does not know the class {run.judged.strangers[0]!r}; `terrasynth train "
                              "judge` makes one that does")
    if run.real is not None and real is None:
        missing["Classes of real images"] = "the classifier does not know all of them" if run.real.strangers else \
            "the data name none"
    return EvaluationReport(
        record.recipe.name, record.identity, _about(record, run) | dict(about), run.evaluation,
        findings(run.evaluation, own, real, None if copies is None else copies.found, record.filter_networks()),
        own, real, histograms, _galleries(run, shown), None if copies is None else copies.found,
        () if copies is None else _pairs(copies, shown), tuple(sweep), missing, tuple(references),
    )


@dataclass(frozen=True)
class Copies:
    """Distances to training images.

    Attributes:
        found: The figures and the nearest pairs.
    """

    found: Memorisation
    train: RealPictures


def find_copies(
    run: JudgedRun, train: RealPictures, held_out: RealPictures, encoder: str, seed: int, cache: Path | None
) -> Copies:
    """Compare the images of a run with training images, beside held-out ones.

    Args:
        train: What its generator was trained on, at the size of its images.
        held_out: Real images that it was not trained on, at that size.
        encoder: Reference of the encoder; a perceptual hash and thumbnails compare too.
        seed: Of the intervals.
        cache: Folder that keeps features; None for none.
    """
    from terrasynth.eval.copies.memorisation import memorisation

    found = memorisation(
        run.pictures.images, train.images, held_out.images, load_measures((HASH, THUMBNAIL, encoder), cache),
        labels=run.pictures.labels, held_out_labels=held_out.labels, seed=seed, pairs=PAIRS,
    )
    return Copies(found, train)


def write_page(folder: Path, report: EvaluationReport) -> Path:
    """Write `report.json` and `index.html`; returns the page.

    Raises:
        InputError: The folder cannot be written to.
        RunError: The disk is full.
    """
    from terrasynth.eval.pages.evaluation_page import write_evaluation_report

    with disk_errors(str(folder)):
        return write_evaluation_report(folder, report)


def _about(record: RunDirectory, run: JudgedRun) -> dict[str, object]:
    generator, judged, model = record.parts["generator"], run.judged, Path(record.recipe.generator.model)
    filters = {f"filter {name}": each.describe()
               for name, each in zip(record.recipe.filter_names, record.recipe.filters, strict=True)}
    filters |= _files(record.root)
    width, height = run.pictures.size
    return {
        "images": f"{len(judged)} accepted ones of {width} x {height} px, of {len(set(run.pictures.labels))} classes",
        "generator": ", ".join([model.name if model.exists() else str(model), *_added(record), *(
            f"{key} {value}" for key, value in generator.items() if value is not None)]),
        "prompts": record.recipe.prompts.expander,
        **(filters or {"filters": "none"}),
        "encoder": network_name(judged.encoder),
        "classifier": network_name(judged.classifier),
        **{f"further features {place}": network_name(each) for place, each in enumerate(judged.networks, start=1)},
    }


def _added(record: RunDirectory) -> Iterator[str]:
    """LoRA, autoencoder and control that a recipe gives its generator, without the folders of this machine."""
    settings = record.recipe.generator
    if settings.lora is not None:
        yield f"LoRA {local_lora(settings.lora)[1]}"
    if settings.vae is not None:
        yield f"autoencoder {local_autoencoder(settings.vae)[1]}"
    if settings.control is not None:
        yield f"control {local_control(settings.control)[1]}"


def _files(run: Path) -> dict[str, str]:
    """What the run's own report says of the files that its filters decided by; the files may be others by now."""
    path = run / layout.REPORT
    settings = json.loads(path.read_text("utf-8")).get("settings", {}) if path.is_file() else {}
    return {name: text for name, text in settings.items() if name.endswith(ITS_FILE)}


def _histograms(run: Path) -> tuple[tuple[ScoreHistogram, ...], str]:
    """What the run's own report counted, and why there is nothing."""
    from terrasynth.eval.pages.charts import ScoreHistogram

    path = run / layout.REPORT
    if not path.is_file():
        return (), "the run has no report/report.json; run its recipe again to write it"
    try:
        entries = json.loads(path.read_text("utf-8"))["histograms"]
        found = tuple(
            ScoreHistogram(each["name"], tuple(each["edges"]), tuple(each["accepted"]), tuple(each["rejected"]),
                           each["thresholds"])
            for each in entries
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{str(path)!r} is no report of a run ({one_line(error)}); run its recipe again") from error
    return found, "" if found else "the recipe has no filter"


def _shown(run: JudgedRun) -> list[Shown]:
    from terrasynth.eval.pages.evaluation_report import Shown

    pictures, judged = run.pictures, run.judged
    scores, probabilities = judged.scores, None if judged.strangers else judged.own_probability
    seen = [judged.known[place] for place in judged.probabilities.argmax(1)]
    return [
        Shown(pictures.images[row], pictures.ids[row], pictures.seeds[row] if pictures.seeds else None,
              pictures.labels[row], pictures.texts[row], float(scores[row]),
              None if probabilities is None else float(probabilities[row]), seen[row])
        for row in range(len(judged))
    ]


def _galleries(run: JudgedRun, shown: Sequence[Shown]) -> tuple[Gallery, ...]:
    from terrasynth.eval.pages.evaluation_report import Gallery, extremes

    found = []
    named = [("CLIP score", run.judged.scores)]
    if not run.judged.strangers:
        named.append(("probability of the class", run.judged.own_probability))
    for name, values in named:
        best, worst = extremes(values, SHOWN)
        found += [Gallery(f"{end} {name}", tuple(shown[row] for row in rows))
                  for end, rows in (("Lowest", worst), ("Highest", best))]
    return tuple(each for each in found if each.pictures)


def _pairs(copies: Copies, shown: Sequence[Shown]) -> tuple[NearestPair, ...]:
    from terrasynth.eval.pages.evaluation_report import NearestPair

    names = copies.train.labels or ("",) * len(copies.train.images)
    return tuple(
        NearestPair(pair, shown[pair.row], copies.train.images[pair.train_row], names[pair.train_row])
        for pair in copies.found.pairs
    )
