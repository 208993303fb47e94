"""The figures of an evaluation in words: rows that a terminal, a card and a page show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING

from terrasynth.eval.evaluation.figures import (
    AlignmentFigures,
    CmmdFigures,
    CoverageFigures,
    Distances,
    DiversityFigures,
    FrechetFigures,
    InceptionFigures,
    KernelFigures,
    NotMeasured,
    RetrievalFigures,
    SceneFigures,
    network_name,
)
from terrasynth.eval.evaluation.realism import Realism
from terrasynth.eval.metrics.figure import Figure
from terrasynth.eval.table import Table

if TYPE_CHECKING:
    from terrasynth.eval.metrics.floors import AtEqualSize
    from terrasynth.eval.metrics.realism import Spectrum, ToldApart
    from terrasynth.eval.metrics.retrieval import Recall

NAME_WIDTH = 16
HEAD = ("metric", "value", "95 % interval", "null", "real images", "at equal n", "n", "network")
SHARES = ("precision", "recall", "density", "coverage")
NO_INTERVAL = "no interval, as a resample repeats images"


FIRST = ("scene accuracy", "CLIP score", "inception score", "Frechet distance", "told apart")
"""Beginnings of the names of figures that are read first."""
MISSING = "not measured"


@dataclass(frozen=True)
class Row:
    """One figure, in words.

    Attributes:
        name: Of the metric.
        network: Whose features or scores it is made of.
        n: Numbers of images.
        value: The figure; "not measured".
        interval: Its 95 % interval, or "" where there is none.
        null: What it is where there is nothing to find.
        real: What it is for real images, with its range and number.
        equal: What it is for these images at that number.
        note: What else is to be said of it.
        seed: Of what was drawn.
    """

    name: str
    network: str
    n: str
    value: str
    interval: str = ""
    null: str = ""
    real: str = ""
    equal: str = ""
    note: str = ""
    seed: int = 0

    def line(self) -> str:
        """One line for people."""
        parts = [
            f"{self.name:<{NAME_WIDTH}} {self.value}{' ' * bool(self.interval)}{self.interval} ({self.n})",
            self.null and f"null {self.null}", self.real and f"real {self.real}",
            self.equal and f"these at that n {self.equal}", self.note, f"network {self.network}, seed {self.seed}",
        ]
        return "; ".join(part for part in parts if part)

    def short(self) -> str:
        """The figure with its interval, null and ceiling; of one that was not measured why."""
        value = f"{self.value}{' ' * bool(self.interval)}{self.interval}"
        real = "" if self.real in ("", MISSING) else f"real {self.real}"
        parts = [f"{self.name:<{NAME_WIDTH}} {value} ({self.n})", self.null and f"null {self.null}", real,
                 self.note if self.value == MISSING else ""]
        return "; ".join(part for part in parts if part)


def first_lines(rows: Sequence[Row]) -> list[str]:
    """The figures that are read first, a short line each, then who judged, and how many more there are."""
    shown = [row for row in rows if row.name.startswith(FIRST)]
    networks = dict.fromkeys(row.network for row in shown if row.value != MISSING)
    by = [f"{'judged by':<{NAME_WIDTH}} {', '.join(networks)}; seed {rows[0].seed}"] if networks else []
    return [*(row.short() for row in shown), *by]


def figures_table(rows: Sequence[Row]) -> Table:
    """Rows as a table; `notes_of` has their notes."""
    return Table(HEAD, tuple((row.name, row.value, row.interval, row.null, row.real, row.equal, row.n, row.network)
                             for row in rows), below={"95 % interval": "value", "network": "metric"})


def notes_of(rows: Sequence[Row]) -> list[str]:
    """The notes of rows; one that several rows share is said once."""
    shared: dict[str, list[Row]] = {}
    for row in rows:
        if row.note:
            shared.setdefault(row.note, []).append(row)
    return [
        f"{', '.join(dict.fromkeys(row.name for row in own))} "
        f"({', '.join(dict.fromkeys(row.network.split()[0] for row in own))}): {note}."
        for note, own in shared.items()
    ]


def rows_of(evaluation: Evaluation) -> list[Row]:
    """All figures of an evaluation in the order to show; what was not measured comes last."""
    seed, scene, alignment = evaluation.seed, evaluation.scene, evaluation.alignment
    rows = [] if scene is None else [
        Row("scene accuracy", network_name(scene.network), f"n = {scene.accuracy.n}", _value(scene.accuracy),
            _range(scene.accuracy), f"{scene.chance:.3f} (a guess)", _optional(scene.ceiling), seed=seed),
    ]
    rows += [
        Row("CLIP score", network_name(alignment.network), f"n = {alignment.score.n}", _value(alignment.score),
            _range(alignment.score), f"{_optional(alignment.null)} ({alignment.null_kind})",
            _optional(alignment.ceiling), seed=seed),
    ]
    if evaluation.retrieval is not None:
        rows += _retrieval(evaluation.retrieval)
    if evaluation.inception is not None:
        rows.append(_inception(evaluation.inception))
    first = Distances(evaluation.frechet, evaluation.kid, evaluation.coverage, ())
    for each in (first, *evaluation.further):
        rows += _distances(each, seed)
    if evaluation.cmmd is not None:
        rows.append(_cmmd(evaluation.cmmd))
    for diversity, seen in zip(evaluation.diversity, ("embeddings", "features"), strict=False):
        rows += _diversity(diversity, seen, seed)
    for what, realism in (("", evaluation.realism), ("coded: ", evaluation.coded)):
        if realism is not None:
            rows += _realism(what, realism)
    return rows + [_missing(each, evaluation.n, seed) for each in evaluation.missing]


def _retrieval(figures: RetrievalFigures) -> Iterator[Row]:
    found, real = figures.found, figures.ceiling
    for way, own, ceiling in (
        ("image to text", found.image_to_text, real.image_to_text if real else ()),
        ("text to image", found.text_to_image, real.text_to_image if real else ()),
    ):
        if own:
            yield _recall(way, own, ceiling, figures)


def _recall(way: str, own: Sequence[Recall], ceiling: Sequence[Recall], figures: RetrievalFigures) -> Row:
    found = figures.found
    counts = f"n = {found.n_images} images, {found.n_texts} distinct texts"
    real = "not measured"
    if figures.ceiling is not None:
        texts = figures.ceiling.n_texts
        real = (f"{_each(each.recall.value for each in ceiling)} (n = {figures.n_real}, {texts} distinct texts, chance "
                f"{_each(each.chance for each in ceiling)})")
    return Row(
        f"{way} R@{'/'.join(str(each.k) for each in own)}", network_name(figures.network), counts,
        _each(each.recall.value for each in own), " / ".join(_range(each.recall) for each in own),
        f"{_each(each.chance for each in own)} (chance)", real, note="ties count against", seed=found.seed,
    )


def _inception(figures: InceptionFigures) -> Row:
    found, equal = figures.found, figures.equal
    parts = "" if found.split_mean is None else (
        f"mean of {found.splits} parts {found.split_mean:.3f}, spread {found.split_spread:.3f}"
    )
    return Row(
        "inception score", network_name(figures.network), f"n = {found.n}", f"{found.score:.3f}",
        _between(found.low, found.high), "1 (all alike)", _real(equal), _these(equal),
        ", ".join(part for part in (parts, f"at most {figures.most}") if part), found.seed,
    )


def _distances(distances: Distances, seed: int) -> Iterator[Row]:
    if distances.frechet is not None:
        yield _frechet(distances.frechet, seed)
    if distances.kid is not None:
        yield _kid(distances.kid)
    if distances.coverage is not None:
        yield from _coverage(distances.coverage, seed)


def _frechet(f: FrechetFigures, seed: int) -> Row:
    notes = [f"{f.dim} features"]
    if f.biased:
        notes.append("fewer images than features, so biased upwards")
    if f.infinity is not None:
        i = f.infinity
        notes.append(f"extrapolated to endless samples {i.distance:.3f} ({i.points} samples of {i.smallest} to {i.n} "
                     f"images, R^2 of the line {i.fit:.2f})")
    floor, equal = "not measured (only statistics are known)", ""
    if f.floor is not None:
        floor = f"{f.floor.mean:.3f} {_between(f.floor.low, f.floor.high)} (n = {f.floor.n} against {f.floor.n})"
        equal = "" if f.at_floor is None else f"{f.at_floor:.3f}"
    interval = "" if f.low is None or f.high is None else _between(f.low, f.high)
    return Row("Frechet distance", network_name(f.network), f"n = {f.n} against {f.n_reference} real",
               f"{f.distance:.3f}", interval, "", floor, equal, ", ".join(notes), seed)


def _kid(figures: KernelFigures) -> Row:
    found = figures.found
    note = (f"{found.subsets} subsets of {found.subset_size}: mean {_digits(found.subset_mean)}, spread "
            f"{_digits(found.subset_spread)}; {figures.dim} features")
    return Row(
        "KID", network_name(figures.network), f"n = {found.n} against {found.n_reference} real",
        _digits(found.distance), _between(found.low, found.high, _digits), "", _real(figures.equal, True, _digits),
        _these(figures.equal, _digits), note, found.seed,
    )


def _cmmd(figures: CmmdFigures) -> Row:
    interval = "" if figures.low is None or figures.high is None else _between(figures.low, figures.high)
    note = f"biased estimator, as published; unbiased {figures.unbiased:.3f}; {figures.dim} features"
    return Row(
        "CMMD", network_name(figures.network), f"n = {figures.n} against {figures.n_reference} real",
        f"{figures.distance:.3f}", interval, "", _real(figures.equal, True), _these(figures.equal), note,
        figures.equal.seed,
    )


def _coverage(figures: CoverageFigures, seed: int) -> Iterator[Row]:
    found = figures.found
    for name in SHARES:
        equal = figures.equal.get(name)
        yield Row(
            name, network_name(figures.network), f"n = {found.n} against {found.n_reference} real",
            f"{getattr(found, name):.3f}", "", "", _real(equal, True), _these(equal),
            f"k = {found.k}; {NO_INTERVAL}", seed,
        )


def _diversity(d: DiversityFigures, seen: str, seed: int) -> Iterator[Row]:
    """Rows of one network; `seen` tells apart what a judge gives twice, as encoder and as classifier."""
    network = f"{network_name(d.network)}, {seen}"
    within = "" if d.distance_within is None else f", within classes {d.distance_within:.3f}"
    real_within = "" if d.real_distance_within is None else f", within classes {d.real_distance_within:.3f}"
    yield Row("Vendi score", network, f"n = {d.n}", f"{d.vendi:.3f}", "", "1 (all alike)",
              _number(d.real_vendi, d.n_real), note=f"it grows with n; {NO_INTERVAL}", seed=seed)
    yield Row("mean distance", network, f"n = {d.n}", f"{d.distance:.3f}{within}", "", "0 (all alike)",
              "not measured" if d.real_distance is None else f"{d.real_distance:.3f}{real_within} (n = {d.n_real})",
              note="1 - cosine of all pairs", seed=seed)


def _realism(what: str, figures: Realism) -> Iterator[Row]:
    name = network_name(figures.network)
    for each in (figures.coarse, figures.fine):
        yield _told_apart(what, each, name)
    yield from _spectrum(what, figures.spectrum, name, figures.coarse.seed)


def _told_apart(what: str, found: ToldApart, network: str) -> Row:
    measures = "72 measures" if found.fine else "18 measures"
    return Row(f"{what}told apart, {measures}", network, f"n = {found.n} against {found.n} real",
               _fixed(found.accuracy), _between(found.low, found.high), "0.500 (a guess)",
               f"{_fixed(found.null)} {_between(found.null_low, found.null_high)} (halves, n = {found.n_halves} "
               f"against {found.n_halves})",
               note="accuracy of a logistic regression on texture, 5-fold: 1 where every image gives itself away",
               seed=found.seed)


def _spectrum(what: str, found: Spectrum, network: str, seed: int) -> Iterator[Row]:
    counts = f"n = {found.n} against {found.n_real} real"
    yield Row(f"{what}fine spectrum", network, counts, f"{found.fine:+.2f} dB", "", "", "0 dB",
              note="power above a quarter of the sampling frequency less that of real images; below 0 is a blur",
              seed=seed)
    peaks = " / ".join(f"{value:+.2f}" for value in found.peaks.values())
    periods = "/".join(str(period) for period in found.peaks)
    yield Row(f"{what}grid peaks at {periods} px", network, counts, f"{peaks} dB", "", "", "0 dB",
              note="above what real images have; a grid that is seen stands above 3", seed=seed)


def _missing(each: NotMeasured, n: int, seed: int) -> Row:
    return Row(each.metric, network_name(each.network), f"n = {n}", MISSING, note=each.reason, seed=seed)


def _digits(value: float) -> str:
    return f"{value:.4g}"


def _fixed(value: float) -> str:
    return f"{value:.3f}"


def _between(low: float, high: float, form: Callable[[float], str] = _fixed) -> str:
    return f"[{form(low)}, {form(high)}]"


def _value(figure: Figure) -> str:
    return _fixed(figure.value)


def _range(figure: Figure) -> str:
    return _between(figure.low, figure.high)


def _optional(figure: Figure | None) -> str:
    return "not measured" if figure is None else str(figure)


def _number(value: float | None, n: int) -> str:
    return "not measured" if value is None else f"{value:.3f} (n = {n})"


def _each(values: Iterable[float]) -> str:
    return " / ".join(_fixed(value) for value in values)


def _real(equal: AtEqualSize | None, pair: bool = False, form: Callable[[float], str] = _fixed) -> str:
    if equal is None:
        return "not measured"
    counts = f"n = {equal.n} against {equal.n}" if pair else f"n = {equal.n}"
    spread = "" if form(equal.low) == form(equal.high) else f"{_between(equal.low, equal.high, form)} "
    return f"{form(equal.real)} {spread}({counts})"


def _these(equal: AtEqualSize | None, form: Callable[[float], str] = _fixed) -> str:
    return "" if equal is None else form(equal.generated)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        n: Images judged.
        seed: Seed of bootstrap, shuffling and splits.
        scene: Recognition of the class; None where the classifier does not know every class.
        alignment: Agreement with the text.
        frechet: Distance to real images on features of the classifier, where reference images were given.
        diversity: On embeddings of the encoder and on features of the classifier; empty for a single image.
        retrieval: Texts among images and images among texts, by the encoder; None for a single image.
        inception: Inception score on the classifier's probabilities.
        kid: Kernel distance to real images on features of the classifier.
        cmmd: The same on embeddings of the encoder.
        coverage: Precision, recall, density and coverage on features of the classifier.
        further: Distances on the features of further networks, in the order in which they were given.
        missing: What could not be measured, and why.
        realism: Whether texture and spectrum tell the images from the reference images.
        coded: The same of reference images that the generator's autoencoder coded and decoded.
    """

    n: int
    seed: int
    scene: SceneFigures | None
    alignment: AlignmentFigures
    frechet: FrechetFigures | None
    diversity: tuple[DiversityFigures, ...] = ()
    retrieval: RetrievalFigures | None = None
    inception: InceptionFigures | None = None
    kid: KernelFigures | None = None
    cmmd: CmmdFigures | None = None
    coverage: CoverageFigures | None = None
    further: tuple[Distances, ...] = ()
    missing: tuple[NotMeasured, ...] = ()
    realism: Realism | None = None
    coded: Realism | None = None

    @property
    def recognition(self) -> SceneFigures:
        """`scene`, for whoever knows that the classifier knows the classes.

        Raises:
            ValueError: It does not.
        """
        if self.scene is None:
            raise ValueError("the classifier does not know every class, so that nothing is said of recognition")
        return self.scene

    def to_json(self) -> dict[str, object]:
        """Nested plain data, ready for `json.dump`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The figures for people, a line each; what was not measured comes last, with the reason."""
        return [row.line() for row in rows_of(self)]

    def first_lines(self) -> list[str]:
        """The figures that are read first, a short line each, then who judged."""
        return first_lines(rows_of(self))

    def _repr_html_(self) -> str:
        rows = rows_of(self)
        notes = "".join(f"<li>{escape(note)}</li>" for note in notes_of(rows))
        table = figures_table(rows).html().replace("<small>", "<br><small>")
        return f"{table}<p>Seed {self.seed}.</p><ul>{notes}</ul>"

    def table(self) -> str:
        """The same as a Markdown table, a row each."""
        rows = rows_of(self)
        seed = f"Seed {self.seed}. \"Real images\" is the ceiling or floor: the same figure of real images; " \
               "\"at equal n\" are these images in samples as large."
        return "\n".join([figures_table(rows).markdown(), "", seed, "", *(f"- {note}" for note in notes_of(rows))])
