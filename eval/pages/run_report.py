"""The report of a run: a page that opens without a server, the same figures as JSON, and contact sheets."""

from __future__ import annotations

import gc
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from terrasynth.eval.pages.charts import ScoreHistogram
from terrasynth.eval.pages.page import Gallery, Links, Notes, Page, Part, Picture, Section, settings_section
from terrasynth.eval.pages.run_images import RunImages, page_name, pages_of, script
from terrasynth.eval.pages.sheets import SheetItem, contact_sheet
from terrasynth.eval.table import Cell, Table, bar, verbatim


@dataclass(frozen=True)
class ClassRow:
    """How one class went.

    Attributes:
        accepted: Attempts that passed every filter and count towards the target.
        target: Wanted number of accepted ones.
        reasons: Reason -> number of attempts rejected for it. What is neither accepted nor rejected nor waiting was
            made beyond the target: the last block of a class is finished even when its target is met.
        waiting: Attempts that nobody has looked at, where only a person can let them pass.
        nearest: Of a class that nothing was accepted of, reason -> the score of the rejected attempt that came nearest
            to being let pass, and the score that decides.
    """

    label: str
    accepted: int
    attempted: int
    target: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    nearest: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.beyond < 0:
            raise ValueError(
                f"class {self.label!r}: {self.accepted} accepted, {self.rejected} rejected and {self.waiting} waiting "
                f"of {self.attempted} attempts: count every attempt once"
            )

    @property
    def rate(self) -> float:
        """Acceptance rate, 0 to 1; 0 before the first attempt."""
        return self.accepted / self.attempted if self.attempted else 0.0

    @property
    def rejected(self) -> int:
        """Attempts that a filter turned away."""
        return sum(self.reasons.values())

    @property
    def beyond(self) -> int:
        """Attempts beyond the target."""
        return self.attempted - self.accepted - self.rejected - self.waiting

    @property
    def missed(self) -> bool:
        """Whether fewer than the target were accepted or wait for a person."""
        return self.accepted + self.waiting < self.target


@dataclass(frozen=True)
class RunReport:
    """What the page shows beside all images: plain data, so that anything can fill it.

    Attributes:
        name: Of the run.
        identity: Hash of what decides an image.
        generator: One line on the generator and its revision.
        settings: Name -> value, in the order to show.
        classes: In the order to show.
        histograms: One for each filter that gives a score.
        accepted: Samples of accepted attempts; may be empty.
        rejected: Samples of rejected attempts; may be empty.
        figures: Lines on the quality of the whole, such as those of `Evaluation.lines`.
        prompts_seen: Prompts that checks judged before anything was drawn; 0 for no checks.
        prompt_drops: How many of them were dropped, by reason.
        prompt_notes: What else is to be said of them, and of how many.
        warnings: Why the figures may mean nothing, sentences in which `code` is marked up.
        files: Address and words of what lies beside the report.
        steps: What can be done next -> the command for it.

    Example:
        >>> from terrasynth.eval import RunReport
        >>> from terrasynth.eval.pages.run_report import ClassRow
        >>> rows = ClassRow("beach", 8, 10, 8, {"alignment": 2}), ClassRow("forest", 3, 10, 8, {"alignment": 7})
        >>> report = RunReport("demo", "f6fd52881ace0854", "ldm-ucm", {"steps": 20}, rows)
        >>> report.totals.rate, [row.label for row in report.missed]
        (0.55, ['forest'])
    """

    name: str
    identity: str
    generator: str
    settings: Mapping[str, object]
    classes: tuple[ClassRow, ...]
    histograms: tuple[ScoreHistogram, ...] = ()
    accepted: tuple[SheetItem, ...] = ()
    rejected: tuple[SheetItem, ...] = ()
    figures: tuple[str, ...] = ()
    prompts_seen: int = 0
    prompt_drops: Mapping[str, int] = field(default_factory=dict)
    prompt_notes: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    steps: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> RunReport:
        """The figures in a `report.json`; what it says of samples has no images and is left out.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is of another kind.
            ValueError: Figures contradict each other.
        """
        prompts = tree["prompts"]
        return cls(
            tree["name"], tree["identity"], tree["generator"], tree["settings"],
            tuple(ClassRow(each["label"], each["accepted"], each["attempted"], each["target"], each["reasons"],
                           each.get("waiting", 0),
                           {reason: (score, limit) for reason, (score, limit) in each.get("nearest", {}).items()})
                  for each in tree["classes"]),
            tuple(ScoreHistogram(each["name"], tuple(each["edges"]), tuple(each["accepted"]), tuple(each["rejected"]),
                                 each["thresholds"]) for each in tree["histograms"]),
            figures=tuple(tree["figures"]), prompts_seen=prompts["seen"], prompt_drops=prompts["dropped"],
            prompt_notes=prompts["notes"], warnings=tuple(tree.get("warnings", ())),
        )

    @property
    def totals(self) -> ClassRow:
        """All classes together; the reasons in falling number, then by name."""
        reasons: dict[str, int] = {}
        for row in self.classes:
            for reason, count in row.reasons.items():
                reasons[reason] = reasons.get(reason, 0) + count
        return ClassRow(
            "all classes",
            sum(row.accepted for row in self.classes),
            sum(row.attempted for row in self.classes),
            sum(row.target for row in self.classes),
            dict(sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))),
            sum(row.waiting for row in self.classes),
        )

    @property
    def missed(self) -> tuple[ClassRow, ...]:
        """The classes that missed their target."""
        return tuple(row for row in self.classes if row.missed)


def write_report(folder: Path, report: RunReport, images: Iterable[RunImages] = ()) -> Path:
    """Write `report.json`, the contact sheets and, last, `index.html`.

    The same report always gives the same bytes. A contact sheet is `accepted.png` or `rejected.png`, and the same for a
    dark page with `-dark` in its name; one without samples is not written, and one that an earlier report left is
    removed.

    Args:
        folder: Made if it does not exist.
        report: What to show.
        images: All images, a page each; the first is on `index.html`, and only one is in memory. Their tiles are the
            caller's to write; see `terrasynth.eval.pages.tiles`.

    Returns:
        The path of the page.

    Raises:
        OSError: The folder cannot be written to.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth.eval import RunReport, write_report
        >>> from terrasynth.eval.pages.run_report import ClassRow
        >>> rows = (ClassRow("beach", 8, 10, 8, {"alignment": 2}),)
        >>> with TemporaryDirectory() as folder:
        ...     write_report(Path(folder), RunReport("demo", "f6fd52881ace0854", "ldm-ucm", {"steps": 20}, rows)).name
        'index.html'
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, items in (("accepted", report.accepted), ("rejected", report.rejected)):
        for dark in (False, True):
            path = folder / sheet_file(name, dark)
            if items:
                sheet = io.BytesIO()
                contact_sheet(items, dark=dark).save(sheet, "png")
                _write(path, sheet.getvalue())
            else:
                path.unlink(missing_ok=True)
    _write(folder / "report.json", (json.dumps(to_json(report), indent=1, ensure_ascii=False) + "\n").encode())
    pages = iter(images)
    further = next(pages, None)
    written = {page_name(number) for number in range(pages_of(further.total if further else 0))}
    html = page_of(report, further).html().encode()
    number = 0
    while further is not None:
        if number:
            _write(folder / page_name(number), images_page(report, further).html().encode())
        del further  # before the next is made: a page is some 20 MB
        gc.collect(1)  # a template's macros and context hold each other, and the page
        further, number = next(pages, None), number + 1
    for old in folder.glob("images-*.html"):
        if old.name not in written:
            old.unlink()
    index = folder / "index.html"
    _write(index, html)
    return index


def sheet_file(name: str, dark: bool = False) -> str:
    """The file of a contact sheet."""
    return f"{name}-dark.png" if dark else f"{name}.png"


def page_of(report: RunReport, images: RunImages | None = None) -> Page:
    """The page: how many were accepted, of which classes, what they look like, and by which scores."""
    total, classes = report.totals, report.classes
    tiles = (
        (f"{100 * total.rate:.1f} %", "acceptance rate", ""),
        (f"{total.accepted:,}", f"accepted, of {total.target:,} wanted", ""),
        (f"{total.attempted:,}", "attempted", ""),
        (f"{len(classes) - len(report.missed)} / {len(classes)}", "classes that met their target", ""),
    )
    missed = ", ".join(f"{verbatim(row.label)} ({row.accepted} of {row.target})" for row in report.missed)
    warnings = [f"**Warning:** {line}" for line in report.warnings]
    waiting = ", ".join(f"{verbatim(row.label)} ({row.waiting})" for row in classes if row.waiting)
    warnings += [f"**Target missed:** {missed}"] if missed else []
    warnings += [f"**Waiting for review:** {waiting}"] if waiting else []
    return Page(
        f"{report.name}: {total.accepted} of {total.attempted} accepted",
        f"{total.accepted:,} of {total.attempted:,} images accepted", report.name,
        (*_sections(report, images), settings_section(report.settings)), identity=report.identity,
        lead=(report.generator,), tiles=tiles, warning="\n\n".join(warnings),
        script=script() if images is not None else "",
    )


def images_page(report: RunReport, images: RunImages) -> Page:
    """A further page of images, where one of all would be too large."""
    last = images.first + len(images.images)
    return Page(f"{report.name}: images {images.first + 1:,} to {last:,}",
                f"Images {images.first + 1:,} to {last:,} of {images.total:,}", report.name,
                (Section("Images", (images,)), Section("More", (Links(((page_name(0), "The report"),)),))),
                identity=report.identity, lead=(report.generator,), script=script())


def _sections(report: RunReport, images: RunImages | None) -> Iterator[Section]:
    if report.figures:
        yield Section("Quality of the whole", report.figures)
    yield Section("Acceptance by class", _classes(report, linked=images is not None))
    if images is not None:
        beyond = images.total + images.left_out - report.totals.attempted
        more = [f"{beyond:,} images beyond the target are among these: blocks are drawn whole, and the data set needs "
                "no more."]
        yield Section("Images", (*(more if beyond > 0 else []), images))
    if report.prompt_drops or report.prompt_notes:
        notes = {f"not dropped: {note}": count for note, count in report.prompt_notes.items()}
        yield Section("Prompts dropped, by reason", (
            f"Of {report.prompts_seen:,} prompts, {sum(report.prompt_drops.values()):,} were dropped before anything "
            "was drawn.",
            Table.of_settings({name: f"{count:,}" for name, count in {**report.prompt_drops, **notes}.items()}),
        ))
    if report.histograms:
        yield Section("Scores", (tuple(each.chart() for each in report.histograms),))
    if report.accepted or report.rejected:
        yield Section("Contact sheets", tuple(_sheets(report)))
    if report.files or report.steps:
        files: list[Part] = [Links(report.files)] if report.files else []
        steps: list[Part] = [Table.of_settings(report.steps), "RUN is the folder that holds `report/`."]
        yield Section("Files and next steps", (*files, *(steps if report.steps else [])))


def _sheets(report: RunReport) -> Iterator[Part]:
    """The sheets, each with what was asked for."""
    yield "The first of each kind, as files to put into a paper or a talk."
    for name, items in (("accepted", report.accepted), ("rejected", report.rejected)):
        if items:
            words = f"{len(items)} {name} images, each with class and scores"
            yield Gallery((Picture(((sheet_file(name), words),), dark=sheet_file(name, dark=True)),),
                          name.capitalize(), width=1000, fold=True)
            yield Notes(tuple(f"**{verbatim(each.label)}** {verbatim(each.text)}" for each in items),
                        f"{name.capitalize()}: what was asked for", True, True)


def _classes(report: RunReport, linked: bool) -> tuple[Part, ...]:
    total = report.totals
    key = {"accepted": "accepted", "rejected": "rejected"}
    key |= {"waiting": "waiting for a review"} if total.waiting else {}
    key |= {"beyond": "beyond the target"} if total.beyond else {}
    most = max((row.attempted for row in report.classes), default=1) or 1
    table = Table(("class", "attempts", "accepted", "target", "attempted", "rate", "rejected for"), tuple(
        (Cell(row.label, kind="missed" * row.missed, link=urlencode({"class": row.label}) if linked else ""),
         Cell("", kind="wide", picture=_bar(row, most)),
         Cell(str(row.accepted), kind="missed" * row.missed), str(row.target), str(row.attempted),
         f"{100 * row.rate:.0f} %", _reasons(row)) for row in report.classes), key=key)
    return (table, *([f"Rejected in all: {_reasons(total)}"] if total.reasons else []))


def _bar(row: ClassRow, most: int) -> str:
    counts = {"accepted": row.accepted, "rejected": row.rejected, "waiting": row.waiting, "beyond": row.beyond}
    ends = [end / most for end in accumulate(counts.values(), initial=0)]
    waiting = f"{row.waiting} waiting for a review, " if row.waiting else ""
    return bar(zip(counts, ends, ends[1:], strict=False),
               f"{row.accepted} accepted, {row.rejected} rejected, {waiting}{row.beyond} beyond the target")


def _reasons(row: ClassRow) -> str:
    near = {reason: f" (best score {score:.3g}, threshold {limit:.3g})"
            for reason, (score, limit) in row.nearest.items()}
    return ", ".join(f"{reason} {count}{near.get(reason, '')}" for reason, count in row.reasons.items())


def _write(path: Path, data: bytes) -> None:
    """Write a file as new: a link in its place is replaced, not followed."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(data)


def to_json(report: RunReport) -> dict[str, object]:
    """The report as plain data, without its images."""
    return {
        "name": report.name,
        "identity": report.identity,
        "generator": report.generator,
        "settings": dict(report.settings),
        "totals": _row(report.totals),
        "classes": [_row(row) for row in report.classes],
        "prompts": {
            "seen": report.prompts_seen, "dropped": dict(report.prompt_drops), "notes": dict(report.prompt_notes)
        },
        "histograms": [asdict(histogram) for histogram in report.histograms],
        "accepted_samples": [_sample(item) for item in report.accepted],
        "rejected_samples": [_sample(item) for item in report.rejected],
        "figures": list(report.figures),
        "warnings": list(report.warnings),
    }


def _row(row: ClassRow) -> dict[str, object]:
    return {
        "label": row.label, "accepted": row.accepted, "attempted": row.attempted, "target": row.target,
        "beyond": row.beyond, "rate": round(row.rate, 6), "reasons": dict(row.reasons),
        **({"waiting": row.waiting} if row.waiting else {}),
        **({"nearest": {reason: list(pair) for reason, pair in row.nearest.items()}} if row.nearest else {}),
    }


def _sample(item: SheetItem) -> dict[str, object]:
    return {"label": item.label, "text": item.text, "scores": dict(item.scores), "reason": item.reason}
