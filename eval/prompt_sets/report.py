"""The report on prompt sets: a page that opens without a server, and the same figures as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from html import escape
from itertools import cycle
from pathlib import Path

from terrasynth.eval.pages.charts import Axis, Chart, Plot, Point, thinned
from terrasynth.eval.pages.folder import TEMPORARY
from terrasynth.eval.pages.page import Notes, Page, Section
from terrasynth.eval.prompt_sets.comparison import Measured, ReportedSet
from terrasynth.eval.prompt_sets.diversity import DEFINITIONS, Figures, Lengths
from terrasynth.eval.prompt_sets.tables import equal_table, whole_table
from terrasynth.eval.table import Cell, Table, bar

COLORS = ("blue", "orange", "green", "purple", "rose", "gray")
"""Of the sets; later ones start again with the first."""

RECORD, KIND = "report.json", "terrasynth prompts"
SAMPLES = 3  # texts shown of each class and set


def write_prompt_report(folder: Path, measured: Measured) -> Path:
    """Write `report.json` and, last, `index.html`; equal sets give equal bytes.

    Args:
        folder: See `check_report_folder`, which is told `RECORD` and `KIND`.

    Returns:
        The path of the page.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / RECORD, json.dumps(to_json(measured), indent=1, ensure_ascii=False) + "\n")
    _write(folder / "index.html", page_of(measured).html())
    return folder / "index.html"


def page_of(measured: Measured) -> Page:
    """The page: figures of all sets, curves, words, classes, what was dropped, and samples."""
    first, equal = measured.figures[0], measured.equal
    key = {color: one.name for color, one in zip(cycle(COLORS), measured.figures, strict=False)}
    sections = [Section("Each set as it is" if equal else "Figures", (replace(whole_table(measured), key=key),))]
    if equal:
        shared = (f"as many of each of {len(equal.classes)} classes from every set" if equal.classes
                  else "without regard to classes, since the sets share none")
        sections.insert(0, Section("Side by side at equal number", (
            replace(equal_table(measured), key=key),
            f"{equal.n:,} texts of each set, {shared}; drawn at random, because shares of distinct texts and n-grams "
            "fall as a set grows. In brackets: 95 % bootstrap intervals. Texts that equal none of another set are "
            "counted over the whole sets.",
        )))
    drops = tuple(part for one in measured.sets for part in _drops(one))
    shown = equal.figures if equal else measured.figures
    return Page(
        f"{' and '.join(one.name for one in measured.figures)}: prompts",
        f"{first.distinct:,} of {first.n:,} prompts are distinct", "prompts", (
            *sections,
            Section("Curves", (tuple(charts(measured, key)),)),
            Section("Commonest words", (tuple(_top_words(one, color) for one, color in
                                              zip(shown, cycle(COLORS), strict=False)),)),
            Section("Classes", (_classes(measured, key),
                                f"Share of the set; numbers are texts{', in the order of the sets' * bool(equal)}.")),
            *([Section("Dropped candidates", drops)] if drops else []),
            Section("Samples", (_samples(measured), "Drawn at random from each class of the first set.")),
            Section("Definitions", (Notes(tuple(f"**{term}**: {words}" for term, words in DEFINITIONS.items())),)),
        ),
        lead=tuple(f"**{one.tally.name}** {one.about}; {figures.n:,} texts"
                   for one, figures in zip(measured.sets, measured.figures, strict=True)),
        tiles=tuple(_tiles(first)),
    )


def _tiles(first: Figures) -> Iterator[tuple[str, str, str]]:
    yield f"{100 * first.distinct_share:.1f} %", "distinct", ""
    yield f"{len(first.classes)}", f"classes, balance {first.balance:.3f}", ""
    yield f"{first.words.mean:.1f}", "words a prompt", ""
    yield f"{first.vocabulary:,}", f"different words, {2**first.entropy:.0f} effective", ""
    if first.tokens is not None and first.tokens.above is not None:
        yield f"{100 * first.tokens.above:.1f} %", f"longer than {first.tokens.limit} tokens", ""


def charts(measured: Measured, key: Mapping[str, str]) -> Iterator[Chart]:
    """Growth of distinct texts, frequencies of words, lengths in words, and in tokens where they were counted.

    Args:
        key: Class of the style sheet -> name of each set.
    """
    figures = measured.figures
    most = max(2, *(one.n for one in figures))
    n, distinct = Axis("texts drawn", 1, most, True, short), Axis("distinct texts", 1, most, True, short)
    growth = Plot(n, distinct, "distinct texts by texts drawn")
    growth.line((1, 1), (most, most), "ideal")
    yield _curves(growth, [one.growth for one in figures], key, "Distinct texts as the set grows",
                  "Expected number among n texts drawn at random; on the dashed line every text is new.")
    shown = measured.equal.figures if measured.equal else figures
    words = [[(rank, count / sum(one.frequencies)) for rank, count in enumerate(one.frequencies, 1)] for one in shown]
    least = min([0.1, *(points[-1][1] for points in words if points)])
    rank = Axis("rank of the word", 1, max([2, *map(len, words)]), True, short)
    plot = Plot(rank, Axis("share of all words", least, 1, True, percent), "share of a word by its rank")
    yield _curves(plot, [thinned(points) for points in words], key, "Words by rank and frequency",
                  "Share of all words, from the commonest word to the rarest."
                  + " At equal number." * bool(measured.equal))
    yield _length_chart([one.words for one in figures], "words", key, "Share of the texts.")
    tokens = [one.tokens for one in figures if one.tokens is not None]
    if tokens:
        sampled = ", ".join(f"{one.n:,}" for one in tokens)
        yield _length_chart(tokens, "tokens", key, f"Share of the texts; n = {sampled}.")


def _curves(
    plot: Plot, curves: Sequence[Sequence[Point]], key: Mapping[str, str], title: str, note: str
) -> Chart:
    for points, color in zip(curves, cycle(COLORS), strict=False):
        plot.curve(points, color)
    return Chart(plot.svg(), title, key, note)


def _length_chart(lengths: Sequence[Lengths], unit: str, key: Mapping[str, str], note: str) -> Chart:
    limit = lengths[0].limit
    longest = max([1, *(one.longest for one in lengths), *([] if limit is None else [limit])])
    outlines = [stairs(one.counts) for one in lengths]
    plot = Plot(Axis(f"length in {unit}", -0.5, longest + 0.5, form=short),
                Axis("share", 0, 1.05 * max(share for points in outlines for _, share in points), form=percent),
                f"texts by length in {unit}")
    plot.limits([] if limit is None else [limit + 0.5], lambda _: f"limit {limit}")
    return _curves(plot, outlines, key, f"Length in {unit}", note)


def stairs(counts: Sequence[int]) -> list[Point]:
    """The outline of a histogram of whole numbers, as shares; 0 lies in the middle of the first bar."""
    total = sum(counts)
    points: list[Point] = []
    for number, count in enumerate(counts):
        points += [(number - 0.5, count / total), (number + 0.5, count / total)]
    return [*points, (len(counts) - 0.5, 0.0)]


def short(value: float) -> str:
    """A number for a tick: 1, 500, 10k, 2M."""
    for factor, unit in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def percent(value: float) -> str:
    """A share for a tick: 10 %, 0.01 %."""
    return f"{100 * value:.10g} %"


def _top_words(figures: Figures, color: str) -> Table:
    total, most = sum(figures.frequencies), max([1, *(count for _, count in figures.top_words)])
    return Table(("word", "", "share"), tuple(
        (word, Cell("", picture=bar([(color, 0, count / most)])), f"{100 * count / total:.1f} %")
        for word, count in figures.top_words), figures.name)


def _classes(measured: Measured, key: Mapping[str, str]) -> Table:
    figures = measured.figures
    most = max(count / one.n for one in figures for count in one.classes.values())
    return Table(("class", "", "texts"), tuple(
        (label or "(no class)",
         Cell("", picture="".join(bar([(color, 0, one.classes.get(label, 0) / one.n / most)])
                                  for one, color in zip(figures, cycle(COLORS), strict=False))),
         " / ".join(f"{one.classes.get(label, 0):,}" for one in figures))
        for label in dict.fromkeys(label for one in figures for label in one.classes)), key=key)


def _drops(one: ReportedSet) -> Iterator[str | Table]:
    if one.seen is None and not one.drops:
        return
    total, most = sum(one.drops.values()), max([1, *one.drops.values()])
    if not one.drops:
        yield f"**{one.tally.name}**: none of {one.seen:,} candidates."
    else:
        of = "" if one.seen is None else f" of {one.seen:,} candidates ({100 * total / one.seen:.1f} %)"
        yield f"**{one.tally.name}**: {total:,} dropped{of}, by reason:"
        yield Table(("reason", "", "candidates"), tuple(
            (reason, Cell("", picture=bar([("gray", 0, count / most)])), f"{count:,}")
            for reason, count in sorted(one.drops.items(), key=lambda each: -each[1])))
    yield from (f"{note}: {count:,}" for note, count in one.notes.items())


def _samples(measured: Measured) -> Table:
    return Table(("class", *(one.name for one in measured.figures)), tuple(
        (Cell(label or "(no class)", kind="name"),
         *(Cell("", picture="".join(f"<p>{escape(text)}</p>" for text in texts)) if texts else "none"
           for one in measured.sets for texts in [list(dict.fromkeys(one.tally.kept(label)))[:SAMPLES]]))
        for label in measured.figures[0].classes))


def to_json(measured: Measured) -> dict[str, object]:
    """All figures as plain data; floats to six digits, the words' frequencies thinned by rank."""
    equal = measured.equal
    return {
        "kind": KIND,
        "definitions": DEFINITIONS,
        "sets": [
            {"about": one.about, "seed": one.tally.seed, "seen": one.seen, "drops": dict(one.drops),
             "notes": dict(one.notes)} | _figures(figures)
            for one, figures in zip(measured.sets, measured.figures, strict=True)
        ],
        "equal": None if equal is None else {
            "n": equal.n, "classes": dict(equal.classes),
            "sets": [
                _figures(figures) | {"intervals": {"distance": _rounded(whole), "distance_within": _rounded(within)}}
                for figures, whole, within in zip(equal.figures, equal.distance, equal.distance_within, strict=True)
            ],
        },
        "novelty": [_rounded(asdict(one)) for one in measured.novelty],
    }


def _figures(figures: Figures) -> dict[str, object]:
    ranks = thinned([(rank, count) for rank, count in enumerate(figures.frequencies, 1)])
    shares = {"distinct_share": figures.distinct_share, "commonest_share": figures.commonest_share}
    whole = {**asdict(figures), **shares, "frequencies": ranks}
    return {name: _rounded(value) for name, value in whole.items()}


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + TEMPORARY)
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)
