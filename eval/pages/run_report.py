"""The report of a run: a page that opens without a server, the same figures as JSON, and contact sheets."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path

from terrasynth.eval.pages.charts import ScoreHistogram
from terrasynth.eval.pages.page import Gallery, Notes, Page, Part, Picture, Section, settings_section
from terrasynth.eval.pages.sheets import SheetItem, contact_sheet
from terrasynth.eval.table import Cell, Table, bar, verbatim


@dataclass(frozen=True)
class ClassRow:
    """How one class went.

    Attributes:
        label: Class.
        accepted: Attempts that passed every filter and count towards the target.
        attempted: Attempts made.
        target: Wanted number of accepted ones.
        reasons: Reason -> number of attempts rejected for it. What is neither accepted nor rejected nor waiting was
            made beyond the target: the last block of a class is finished even when its target is met.
        waiting: Attempts that nobody has looked at, where only a person can let them pass.
    """

    label: str
    accepted: int
    attempted: int
    target: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0

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
        """Whether fewer than the target were accepted."""
        return self.accepted < self.target


@dataclass(frozen=True)
class RunReport:
    """What the page shows: plain data, so that anything can fill it.

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


def write_report(folder: Path, report: RunReport) -> Path:
    """Write `report.json`, `accepted.png`, `rejected.png` and, last, `index.html`.

    The same report always gives the same bytes. A sheet without samples is not written, and one that an earlier
    report left is removed.

    Args:
        folder: Made if it does not exist.
        report: What to show.

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
        path = folder / f"{name}.png"
        if items:
            picture = io.BytesIO()
            contact_sheet(items).save(picture, "png", optimize=True)
            _write(path, picture.getvalue())
        else:
            path.unlink(missing_ok=True)
    _write(folder / "report.json", (json.dumps(to_json(report), indent=1, ensure_ascii=False) + "\n").encode())
    index = folder / "index.html"
    _write(index, page_of(report).html().encode())
    return index


def page_of(report: RunReport) -> Page:
    """The page: how many were accepted, of which classes, by which scores, and what they look like."""
    total, classes = report.totals, report.classes
    tiles = (
        (f"{100 * total.rate:.1f} %", "acceptance rate", ""),
        (f"{total.accepted:,}", f"accepted, of {total.target:,} wanted", ""),
        (f"{total.attempted:,}", "attempted", ""),
        (f"{len(classes) - len(report.missed)} / {len(classes)}", "classes that met their target", ""),
    )
    missed = ", ".join(f"{verbatim(row.label)} ({row.accepted} of {row.target})" for row in report.missed)
    return Page(
        f"{report.name}: {total.accepted} of {total.attempted} accepted",
        f"{total.accepted:,} of {total.attempted:,} pictures accepted", report.name,
        (*_sections(report), settings_section(report.settings)), identity=report.identity, lead=(report.generator,),
        tiles=tiles, warning=f"**Target missed:** {missed}" if missed else "",
    )


def _sections(report: RunReport) -> Iterator[Section]:
    if report.figures:
        yield Section("Quality of the whole", report.figures)
    yield Section("Acceptance by class", _classes(report))
    if report.prompt_drops or report.prompt_notes:
        notes = {f"not dropped: {note}": count for note, count in report.prompt_notes.items()}
        yield Section("Prompts dropped, by reason", (
            f"Of {report.prompts_seen:,} prompts, {sum(report.prompt_drops.values()):,} were dropped before anything "
            "was drawn.",
            Table.of_settings({name: f"{count:,}" for name, count in {**report.prompt_drops, **notes}.items()}),
        ))
    if report.histograms:
        yield Section("Scores", (tuple(each.chart() for each in report.histograms),))
    for name, items in (("accepted", report.accepted), ("rejected", report.rejected)):
        if items:
            words = f"{len(items)} {name} pictures, each with class and scores"
            yield Section(name.capitalize(), (
                Gallery((Picture(((f"{name}.png", words),)),), width=1000),
                Notes(tuple(f"**{verbatim(each.label)}** {verbatim(each.text)}" for each in items),
                      "What was asked for", True, True),
            ))


def _classes(report: RunReport) -> tuple[Part, ...]:
    total = report.totals
    key = {"accepted": "accepted", "rejected": "rejected"}
    key |= {"waiting": "waiting for a review"} if total.waiting else {}
    key |= {"beyond": "beyond the target"} if total.beyond else {}
    most = max((row.attempted for row in report.classes), default=1) or 1
    table = Table(("class", "attempts", "accepted", "target", "attempted", "rate", "rejected for"), tuple(
        (Cell(row.label, kind="missed" * row.missed), Cell("", kind="wide", picture=_bar(row, most)),
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
    return ", ".join(f"{reason} {count}" for reason, count in row.reasons.items())


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
    }


def _row(row: ClassRow) -> dict[str, object]:
    return {
        "label": row.label, "accepted": row.accepted, "attempted": row.attempted, "target": row.target,
        "beyond": row.beyond, "rate": round(row.rate, 6), "reasons": dict(row.reasons),
        **({"waiting": row.waiting} if row.waiting else {}),
    }


def _sample(item: SheetItem) -> dict[str, object]:
    return {"label": item.label, "text": item.text, "scores": dict(item.scores), "reason": item.reason}
