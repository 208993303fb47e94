"""The control of the filters as a page that opens without a server, as JSON, and as sheets of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.eval.pages.page import Gallery, Notes, Page, Part, Picture, Section, settings_section
from terrasynth.eval.table import NONE, Cell, Table, bar, span
from terrasynth.synthesis.core.errors import disk_errors
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.studies.filters.control import TOGETHER

if TYPE_CHECKING:
    from terrasynth.eval.metrics.random_keep import Comparison
    from terrasynth.eval.pages.sheets import SheetItem
    from terrasynth.synthesis.studies.filters.control import FilterControl, FilterFinding

COLUMNS, THUMB = 4, 112
MARGIN = 0.03  # of a strip, on both sides
KEY = {"accepted": "better than a random keep", "rejected": "worse", "dot": "no different", "beyond": "95 % of the "
       "random keeps", "mean": "their mean"}
METHOD = (
    "Each filter is judged alone, on every attempt that was drawn, whatever the target of the run was. What it keeps "
    "is compared with {} random keeps of as many images of each class: the band is where 95 % of them lie, the line "
    "their mean, the dot the filter.",
    "A two-sided p-value is the share of random keeps at least as extreme, the kept set counted as one of them, "
    "doubled. Over the figures that count, it is corrected after Holm. Below 0.05 a difference is no chance.",
    "**useful**: better on a figure and worse on none. **useless**: no figure differs from random keeps; with few "
    "images removed, only a large difference could show. **harmful**: worse on a figure and better on none. "
    "**mixed**: better on one, worse on another. **not judged**: no figure counts.",
    "Figures come from models that are not the filter's own, where there is one: a filter by the scene classifier is "
    "judged by the features of the encoder, and by whether that encoder finds the prompts of the class nearest. What "
    "only the filter's own model can say is shown and does not count. Models trained on the same images share their "
    "blind spots even so.",
    "Distance within is the mean of 1 - cosine over pairs of one class. It counts for filters against copies alone, "
    "since every filter that removes what does not belong makes classes more alike.",
)


def write_control(folder: Path, control: FilterControl) -> Path:
    """Write `index.html`, `filters.json` and two sheets of images a filter.

    Args:
        folder: Made where it is missing; files of the same names are replaced.

    Returns:
        The page.

    Raises:
        InputError: The folder cannot be written to.
        RunError: The disk is full.
    """
    with disk_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        sheets = [_sheets(folder, place, control, each) for place, each in enumerate(control.findings)]
        write_file(folder / "filters.json", json.dumps(control.to_json(), indent=1) + "\n")
        write_file(folder / "index.html", page_of(control, sheets).html())
    return folder / "index.html"


def page_of(control: FilterControl, sheets: list[Gallery]) -> Page:
    """Verdicts of all filters, each with its figures and images, and how they are found."""
    single = [each for each in control.findings if each.name != TOGETHER]
    useful = sum(each.verdict == "useful" for each in single)
    method = METHOD[0].format(control.settings["random keeps"]), *METHOD[1:]
    verdicts = Table(("filter", "verdict", "kept", "removed", "by it alone", "settings"), tuple(
        (Cell(each.name, "" if each.in_recipe else "tried", link=f"section-{place}"),
         Cell(each.verdict, kind="verdict"), f"{each.kept:,}",
         f"{each.removed:,}", NONE if each.alone is None else f"{each.alone:,}", each.settings)
        for place, each in enumerate(control.findings, start=2)))
    return Page(
        f"{control.run}: are its filters worth having?",
        f"{useful} of {len(single)} filters {'keeps' if useful == 1 else 'keep'} better images than chance",
        control.run, (
            Section("Verdicts", (verdicts,)),
            *(Section(each.name, _parts(each, own), each.verdict)
              for each, own in zip(control.findings, sheets, strict=True)),
            Section("How the verdict is found", (Notes(method),)),
            settings_section(control.settings),
        ), identity=control.identity)


def _parts(each: FilterFinding, sheets: Gallery) -> tuple[Part, ...]:
    alone = "" if each.alone is None else f", of which every other filter would have kept {each.alone:,}"
    said = (f"Keeps {each.kept:,} of {each.n:,} attempts ({100 * each.kept / each.n:.1f} %) and removes "
            f"{each.removed:,}{alone}. {each.settings}")
    figures = Table(("figure", "kept", "random keep", "95 % of them", "kept among random keeps", "p, Holm", "network"),
                    tuple(map(_row, each.comparisons)), key=KEY)
    by_class = ", ".join(f"{label} {n - kept} of {n}" for label, (kept, n) in each.classes.items())
    return (said, *each.notes, *([figures] if each.comparisons else []),
            Notes((f"{by_class} removed",), "By class", fold=True), sheets)


def _row(one: Comparison) -> tuple[Cell, ...]:
    kind = "" if one.counted else "few"
    better = "higher is better" if one.higher_is_better else "lower is better"
    return (
        Cell(one.name, better, kind), *(Cell(f"{value:.4f}", kind=kind) for value in (one.kept, one.random_mean)),
        Cell(span(one.random_low, one.random_high, ".4f"), kind=kind), Cell("", kind="wide", picture=strip(one)),
        Cell(NONE if one.p_holm is None else f"{one.p_holm:.4f}", kind=kind), Cell(one.network, one.note, kind),
    )


def strip(one: Comparison) -> str:
    """The kept set as a dot over the random keeps: their 95 % range as a band, their mean as a line."""
    ends = one.kept, one.random_low, one.random_high
    low, width = min(ends), (max(ends) - min(ends)) or 1.0

    def place(value: float) -> float:
        return MARGIN + (value - low) / width * (1 - 2 * MARGIN)

    kind = ("better" if one.better else "worse") if one.different else ""
    return bar(
        [("beyond", place(one.random_low), place(one.random_high)),
         ("mean", place(one.random_mean), place(one.random_mean)), (f"dot {kind}", place(one.kept), place(one.kept))],
        f"kept {one.kept:.4f}, random keep {one.random_mean:.4f}, 95 % from {one.random_low:.4f} to "
        f"{one.random_high:.4f}")


def _sheets(folder: Path, place: int, control: FilterControl, finding: FilterFinding) -> Gallery:
    """Sheets of what was removed and kept; one of nothing is not written."""
    from terrasynth.eval.pages.sheets import contact_sheet

    found = []
    first = ", those that it alone removes first" if finding.alone else ""
    for kind, numbers, words in (("removed", finding.removed_sample, f"Removed{first}"),
                                 ("kept", finding.kept_sample, "Kept")):
        path = folder / f"{place:02d}-{kind}.png"
        path.unlink(missing_ok=True)
        if numbers:
            contact_sheet(_items(control, finding, numbers), COLUMNS, THUMB).save(path, optimize=True)
            found.append(Picture(((path.name, f"{kind} images"),), (words,)))
    return Gallery(tuple(found), width=440)


def _items(control: FilterControl, finding: FilterFinding, numbers: tuple[int, ...]) -> list[SheetItem]:
    from terrasynth.eval.pages.sheets import SheetItem

    rows = control.attempts.rows(numbers, ["image", "text", "label"])
    scores = [{"score": finding.sample_scores[number]} if number in finding.sample_scores else {} for number in numbers]
    return [
        SheetItem(decode(row["image"]["bytes"]), row["label"], row["text"], score)
        for row, score in zip(rows, scores, strict=True)
    ]
