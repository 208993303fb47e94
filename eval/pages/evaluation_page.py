"""The report of an evaluation: one page that holds everything, images too, and the same figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from terrasynth.eval.copies.perceptual_hash import turned
from terrasynth.eval.evaluation.confusion import Confusion, Mistake
from terrasynth.eval.evaluation.guidance_sweep import SweepPoint
from terrasynth.eval.evaluation.record import figures_table, notes_of, rows_of
from terrasynth.eval.metrics.figure import Figure
from terrasynth.eval.pages.charts import Axis, Chart, Plot, matrix_svg
from terrasynth.eval.pages.page import (
    Gallery,
    Notes,
    Page,
    Part,
    Picture,
    Section,
    image_uri,
    settings_section,
)
from terrasynth.eval.table import Cell, Table, bar, span, verbatim

if TYPE_CHECKING:
    from terrasynth.eval.evaluation.figures import FrechetFigures
    from terrasynth.eval.evaluation.record import Evaluation
    from terrasynth.eval.pages.evaluation_report import EvaluationReport, NearestPair, Shown

SIDE = 160
"""Most pixels a side of an image on the page; larger ones are made smaller, none is made larger."""

MISTAKES = 10
MOST_CLASSES = 45
"""A larger matrix is unreadable, and a page of several MB."""


def write_evaluation_report(folder: Path, report: EvaluationReport) -> Path:
    """Write `report.json` and, last, `index.html`, which needs no other file.

    The same report always gives the same bytes.

    Args:
        folder: Made if it does not exist.

    Returns:
        The path of the page.

    Raises:
        OSError: The folder cannot be written to.
    """
    page = page_of(report).html()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    index = folder / "index.html"
    index.write_text(page, "utf-8")
    return index


def page_of(report: EvaluationReport) -> Page:
    """The page: what to know first, all figures, and what they rest on."""
    n = report.evaluation.n
    sections = (_first(report), _figures(report), _texture(report.evaluation), _classes(report), _scores(report),
                _pictures(report), _copies(report), _sweep(report.sweep))
    return Page(
        f"{report.name}: evaluation of {n} images", f"How good are these {n:,} images?", report.name,
        (*sections, settings_section(report.about, "How it was measured")),
        identity=report.identity, tiles=tuple(_tiles(report)),
    )


def _tiles(report: EvaluationReport) -> Iterator[tuple[str, str, str]]:
    e = report.evaluation
    score = e.alignment.score
    if e.scene is not None:
        yield (_value(e.scene.accuracy), "scene accuracy",
               f"{_range(e.scene.accuracy)}; guess {e.scene.chance:.3f}{_beside('real', e.scene.ceiling)}")
    yield (_value(score), "CLIP score", f"{_range(score)}{_beside('shuffled', e.alignment.null)}"
                                        f"{_beside('real', e.alignment.ceiling)}")
    if (f := e.frechet) is not None:
        interval = span(f.low, f.high, ".1f")
        floor = "floor not measured"
        if f.floor is not None and f.at_floor is not None:
            floor = f"at n = {f.floor.n}: {f.at_floor:.1f}, real against real {f.floor.mean:.1f}"
        yield f"{f.distance:.1f}", "Frechet distance", "; ".join(filter(None, (interval, floor)))
    if e.realism is not None:
        t = e.realism.coarse
        alone = "" if e.coded is None else f"; its autoencoder alone {e.coded.coarse.accuracy:.3f}"
        yield (f"{t.accuracy:.3f}", "told apart by texture",
               f"{span(t.low, t.high, '.3f')}; real among themselves {t.null:.3f}{alone}")
    if report.copies is not None:
        one = max(report.copies.measures, key=lambda each: each.share.value)
        yield (f"{100 * one.share.value:.1f} %", f"near copies, by {one.measure}",
               f"{span(100 * one.share.low, 100 * one.share.high, '.1f')} %; held-out real {100 * one.null:.1f} %")


SHOWN_FIRST = 5
"""Findings that are shown at once, what is worse first; all others are folded."""


def _first(report: EvaluationReport) -> Section:
    known: list[tuple[str, str]] = [(each.kind, each.text) for each in report.findings]
    first = [each for each in known if each[0] in ("worse", "caution")]
    texts = {kind: tuple(text for each, text in known if each == kind) for kind in ("open", "fine")}
    if not first:
        of = f" Of {len(texts['open'])} there is no verdict." if texts["open"] else ""
        first = [("open" if of else "fine",
                  f"No figure is shown to be worse than that of real images, as far as they were measured.{of}")]
    table = Table((), tuple((Cell(kind, kind="verdict"), text) for kind, text in first[:SHOWN_FIRST]))
    texts = {"more": tuple(f"{kind}: {text}" for kind, text in first[SHOWN_FIRST:]), **texts,
             "absent": tuple(f"{name}: {reason}." for name, reason in report.absent.items())}
    titles = {"more": "More of the same",
              "open": "Without a verdict, of too few images or without an interval that carries one",
              "fine": "Not shown to be worse than real images", "absent": "Left out, with the reason"}
    return Section("What to know first", (table, *(
        Notes(texts[kind], f"{title}: {len(texts[kind])}", fold=True) for kind, title in titles.items()
        if texts[kind])))


def _figures(report: EvaluationReport) -> Section:
    rows = rows_of(report.evaluation)
    measured = [row for row in rows if row.value != "not measured"]
    missing = tuple(f"{row.name} ({row.network}): {row.note}." for row in rows if row.value == "not measured")
    parts: list[Part] = [
        figures_table(measured),
        f"Seed {report.evaluation.seed}. “Null” is the figure where there is nothing to find. “Real images” is its "
        "ceiling or floor; for a distance that is real against other real images, and the column beside it gives "
        "these images in samples as large: compare those two.",
        Notes(tuple(notes_of(rows)), "Notes on single metrics", fold=True),
    ]
    if report.references:
        lines = tuple(each.line() for each in report.references)
        parts.append(Notes(lines, "Against statistics of real images"))
    return Section("All figures", (*parts, *([Notes(missing, "Not measured")] if missing else [])))


def _texture(evaluation: Evaluation) -> Section:
    found, coded = evaluation.realism, evaluation.coded
    if found is None:
        return Section("", ())
    curves = {"real": found.spectrum.real, "generated": found.spectrum.generated}
    key = {"real": "real images", "generated": "these images"}
    if coded is not None:
        curves["coded"] = coded.spectrum.generated
        key["coded"] = "real images, coded and decoded by the generator's autoencoder"
    power = Axis.around((value for each in curves.values() for value in each), "power in dB")
    plot = Plot(Axis("cycles per pixel", 0, 0.5, marks={tick / 8: f"{tick / 8:g}" for tick in range(5)}), power,
                f"Power spectrum of {', '.join(key.values())}")
    for kind, values in curves.items():
        plot.curve(zip(found.spectrum.frequency, values, strict=True), f"curve {kind}", key[kind])
    note = ("Mean power spectrum of the brightness, by frequency. A line below that of real images on the right is a "
            "blur; a narrow hump there is a grid. No network has a part in it.")
    return Section("Texture beside real images", (Chart(plot.svg(), "", key, note),))


def _classes(report: EvaluationReport) -> Section:
    if report.confusion is None:
        return Section("", ())
    own = report.confusion.accuracy()
    real = {} if report.real_confusion is None else report.real_confusion.accuracy()
    rows = []
    for label, one in own.items():
        other = real.get(label)
        gauge = [("value", 0, one.value), ("whisker", one.low, one.high)]
        cells = [label, Cell("", kind="wide", picture=bar(
            [*gauge, *([("tick", other.value, other.value)] if other else [])])), *_short(one)]
        rows.append((*cells, *(_short(other) if real else ())))
    head = ("class", "", "accuracy", "95 % interval", "n", *(("real", "95 % interval", "n") if real else ()))
    key = {"value": "these images", "whisker": "95 % interval", **({"tick": "real images"} if real else {})}
    named = (("Generated images", report.confusion), ("Real images", report.real_confusion))
    mistakes = report.confusion.mistakes(MISTAKES)
    return Section("Classes", (
        Table(head, tuple(rows), "Scene accuracy by class", key=key),
        f"Intervals of single classes are Wilson's. Classifier {report.confusion.network.get('model')}; seen correctly "
        "is what it says, not what is there.",
        tuple(_matrix(title, each) for title, each in named if each is not None),
        *([Table(("asked for", "seen", "these images", "real images"), tuple(
            (each.asked, each.seen, f"{each.count} of {each.n}", _of_real(report.real_confusion, each))
            for each in mistakes), "Most frequent mistakes")] if mistakes else ()),
    ))


def _matrix(title: str, one: Confusion) -> Chart:
    note = f"n = {one.n}"
    if len(one.seen) > MOST_CLASSES:
        return Chart("", title, {}, f"{note}. {len(one.seen)} classes are too many to draw; the counts are in "
                                    "`report.json`.")
    return Chart(confusion_svg(one, title.lower()), f"{title}: asked for (row), seen (column)", {}, note)


def confusion_svg(confusion: Confusion, whose: str) -> str:
    """A row a class that was asked for, a column a class that was seen; of `MOST_CLASSES` columns at most.

    Args:
        confusion: Counts.
        whose: Images, in the words of the description for those who do not see it.
    """
    return matrix_svg(confusion.asked, confusion.seen, confusion.counts,
                      f"Confusion matrix of {confusion.n} {whose}: rows are what was asked for, columns what is seen")


def _of_real(real: Confusion | None, mistake: Mistake) -> str:
    found = None if real is None else real.count(mistake.asked, mistake.seen)
    return "" if found is None else f"{found[0]} of {found[1]}"


def _scores(report: EvaluationReport) -> Section:
    if not report.histograms:
        return Section("", ())
    return Section("Filter scores, accepted and rejected", (
        tuple(each.chart() for each in report.histograms),
        "All attempts of the run that the filter scored, whatever they were rejected for. Whether a filter helps is "
        "another question: `terrasynth eval filters` compares with a random keep.",
    ))


def _pictures(report: EvaluationReport) -> Section:
    e = report.evaluation
    galleries = (Gallery(tuple(map(_figure, each.pictures)), each.title) for each in report.galleries)
    classes = "" if e.scene is None else (f", “class” the probability that {e.scene.network.get('model')} gives to the "
                                          "class asked for")
    return Section("Best and worst images", (
        *galleries,
        f"“CLIP” is the score with its own text by {e.alignment.network.get('model')}{classes}. No contrast or color "
        "was changed. The id is that of the row in `data/`.",
    ))


def _figure(one: Shown) -> Picture:
    seen = "" if one.probability is None or one.seen == one.label else f", seen as {one.seen}"
    sure = "" if one.probability is None else f", class {one.probability:.3f}"
    return Picture(((image_uri(one.image, SIDE), f"{one.label}: {one.text}"),), (
        f"**{verbatim(one.label)}**{verbatim(seen)}", f"CLIP {one.score:.3f}{sure}",
        verbatim(one.text), _place(one)))


def _place(one: Shown) -> str:
    return f"`{one.id}`" + ("" if one.seed is None else f", seed `{one.seed}`")


def _copies(report: EvaluationReport) -> Section:
    c = report.copies
    if c is None:
        return Section("", ())
    rows = tuple(
        (one.measure, f"{one.threshold:.4g} ({one.unit})", _value(one.share), _range(one.share), f"{one.null:.3f}",
         *(f"{value:.4g}" for value in one.quantiles["0.5"]),
         str(one.network.get("content") or one.network.get("revision") or ""))
        for one in c.measures
    )
    return Section("Copies of training images", (
        f"{c.n} images against {c.n_train} training images in 8 views; {c.exact_copies} "
        f"{'equals one' if c.exact_copies == 1 else 'equal one'} in every pixel. Null: {c.n_held_out} real images "
        f"that were held out ({c.mix}). Seed {c.seed}.",
        Table(("measure", "nearer than", "share of these", "95 % interval", "held-out real", "median", "held-out real",
               "network"), rows),
        Gallery(tuple(map(_twins, report.pairs)), "Nearest pairs", 330),
        "Left an image of this data set, turned as its partner lies; right the training image that it is nearest "
        "to. “Ratio” divides by the distance of that one to its own nearest training image: about 1 is usual where "
        "images are all alike, about 0 is a copy.",
    ))


def _twins(each: NearestPair) -> Picture:
    pair, one, label = each.pair, each.picture, each.train_label
    lying = np.ascontiguousarray(turned(one.image[None], pair.view)[0])
    return Picture(
        ((image_uri(lying, SIDE), f"generated {one.label}: {one.text}"),
         (image_uri(each.train, SIDE), f"nearest training image, {label or 'of no named class'}")),
        (f"**{one.label}** | train{f': {label}' if label else ''}",
         f"{pair.measure} {pair.distance:.4g}, ratio {pair.ratio:.2f}"
         f"{', **below the threshold**' if pair.near else ''}", _place(one)),
    )


def _sweep(points: Sequence[SweepPoint]) -> Section:
    if not points:
        return Section("", ())
    rows = tuple(
        (f"{each.guidance:g}", Cell(each.run, each.identity), str(each.n), Cell(_value(each.score), _range(each.score)),
         "not measured" if each.accuracy is None else Cell(_value(each.accuracy), _range(each.accuracy)),
         *_frechet_cells(each.frechet)) for each in points
    )
    return Section("Guidance", (
        tuple(sweep_charts(points)),
        Table(("guidance", "run", "n", "CLIP score", "scene accuracy", "Frechet distance", "at equal n",
               "real against real"), rows),
        "Runs of one recipe that differ in guidance alone, judged by the same networks with the same seed. One seed of "
        "the generator each: what another seed would change is not in the intervals.",
    ))


def _frechet_cells(f: FrechetFigures | None) -> tuple[str | Cell, ...]:
    if f is None:
        return "not measured", "", ""
    own = Cell(f"{f.distance:.2f}", span(f.low, f.high, ".2f"))
    floor = "" if f.floor is None else Cell(f"{f.floor.mean:.2f}", span(f.floor.low, f.floor.high, ".2f"))
    return own, "" if f.at_floor is None else f"{f.at_floor:.2f}", floor


def sweep_charts(points: Sequence[SweepPoint]) -> list[Chart]:
    """A chart a figure against guidance, with intervals; there is none of a figure that a run lacks."""
    named: dict[str, list[tuple[float, float | None, float | None, str]]] = {
        name: [(each.value, each.low, each.high, str(each)) for each in figures] for name, figures in (
            ("CLIP score", [each.score for each in points]),
            ("scene accuracy", [each.accuracy for each in points if each.accuracy is not None]))
        if len(figures) == len(points)
    }
    distances = [each.frechet for each in points if each.frechet is not None]
    if len(distances) == len(points):
        named["Frechet distance"] = [(f.distance, f.low, f.high, f"{f.distance:.2f} (n = {f.n})") for f in distances]
    scales = [each.guidance for each in points]
    found = []
    for name, values in named.items():
        hints = [f"{scale:g}: {words}" for scale, (*_, words) in zip(scales, values, strict=True)]
        ends = [end for *interval, _ in values for end in interval if end is not None]
        plot = Plot(Axis.around(scales, "guidance scale", marks={scale: f"{scale:g}" for scale in scales}),
                    Axis.around(ends, about=4), f"{name} against guidance scale: {'; '.join(hints)}", (360, 220))
        plot.curve(((scale, each[0]) for scale, each in zip(scales, values, strict=True)), "blue")
        for scale, (value, low, high, _), hint in zip(scales, values, hints, strict=True):
            plot.dot(scale, value, low, high, "blue", hint)
        found.append(Chart(plot.svg(), name))
    return found


def _value(one: Figure) -> str:
    return f"{one.value:.3f}"


def _range(one: Figure) -> str:
    return span(one.low, one.high, ".3f")


def _beside(name: str, one: Figure | None) -> str:
    return "" if one is None else f"; {name} {one.value:.3f}"


def _short(one: Figure | None) -> tuple[str, str, str]:
    return ("", "", "") if one is None else (f"{one.value:.2f}", span(one.low, one.high, ".2f"), str(one.n))
