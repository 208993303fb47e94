"""Checks of what people read: the card and the report are there, whole, and speak of the rows that there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from terrasynth.eval.pages.tiles import PER_SHEET, sheet_name
from terrasynth.synthesis.cards.card import content_note
from terrasynth.synthesis.cards.header import split_card
from terrasynth.synthesis.cards.licence_sources import FILE as LICENCE
from terrasynth.synthesis.cards.run_images import layers_of
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RefusedError, RunError, one_line
from terrasynth.synthesis.core.records import RecordError, read_record
from terrasynth.synthesis.execution.prompts import DROPS
from terrasynth.synthesis.ledger.finished import Finished
from terrasynth.synthesis.verify.blocks import NO_PICTURE
from terrasynth.synthesis.verify.data import Decisions
from terrasynth.synthesis.verify.faults import DamagedError, Fault, Remedy, refused, unreadable
from terrasynth.synthesis.verify.record import CheckedRun

STATE_AGAIN = "restore it, or remove it, run again and state the licence again"
CARD, REPORT, PAGE = "README.md", "report/report.json", "report/index.html"
SHOWS_ALL = '<div class="run-images" id="images"'
SHOWS_LABELS = '"layers":{'


def card_faults(run: CheckedRun, decisions: Decisions, fast: bool) -> Iterator[Fault]:
    """The card's header, and the rows and, unless `fast`, the content that it speaks of."""
    path = run.root / CARD
    try:
        header, _ = split_card(_text(path), path, "")
        configured = [each["config_name"] for each in header["configs"]]
        described = header.get("dataset_info")
        rows = sum(split["num_examples"] for split in described["splits"]) if described else decisions.rows
        content = described.get("description") if described else None
        if not configured or rows != decisions.rows:
            yield Fault(CARD, f"speaks of {rows} rows where {decisions.rows} were accepted", Remedy.WRITE)
        elif not fast and content is not None and content != content_note(_hashes(run)):
            yield Fault(CARD, "speaks of data files of another content, so that `load_dataset` may give rows that it "
                              "kept", Remedy.WRITE)
    except FileNotFoundError:
        yield Fault(CARD, "missing", Remedy.WRITE)
    except RefusedError as error:
        yield refused(CARD, error)
    except (RunError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        yield Fault(CARD, f"its header cannot be read ({one_line(error, 120)})", Remedy.WRITE)


def _hashes(run: CheckedRun) -> dict[str, str]:
    """SHA-256 of the shards as the run noted them, which may be damaged by now; where it was stopped, as they are."""
    try:
        noted = Finished.read(run.root).written
        return {name.removeprefix("data/"): found for name, found in noted.items() if name.startswith("data/")}
    except (FileNotFoundError, RecordError, RefusedError):
        return {path.name: run.hash_of(path) for path in layout.shard_files(run.root)}


def report_faults(run: CheckedRun, decisions: Decisions, fast: bool) -> Iterator[Fault]:
    """The report's page, figures, contact sheets and, decoded unless `fast`, its sheets of all images."""
    sheets: list[Path] = []
    try:
        page = _text(run.root / PAGE)
        if not page.rstrip().endswith("</html>"):
            yield Fault(PAGE, "ends in the middle", Remedy.WRITE)
        if SHOWS_ALL in page:  # which those of earlier versions do not
            layers = layers_of(run.identity) if SHOWS_LABELS in page else ()
            sheets = _sheets(run, decisions, layers)
    except FileNotFoundError:
        yield Fault(PAGE, "missing", Remedy.WRITE)
    except RefusedError as error:
        yield refused(PAGE, error)
    except DamagedError as error:
        yield Fault(PAGE, one_line(error), Remedy.WRITE)
    yield from _report_figures(run, decisions)
    for path in [*layout.report_pictures(run.root), *sheets]:
        name = run.relative(path)
        if not path.is_file():
            yield Fault(name, "missing", Remedy.WRITE)
            continue
        try:
            with path.open("rb") as file, Image.open(file) as image:
                if not (fast and path in sheets):
                    image.load()
        except NO_PICTURE as error:
            found = unreadable(path, error)
            if isinstance(found, RefusedError):
                yield refused(name, found)
            else:
                yield Fault(name, f"is no image ({one_line(error, 80)})", Remedy.WRITE)


def _sheets(run: CheckedRun, decisions: Decisions, layers: Sequence[str]) -> list[Path]:
    """Where the tiles of all attempts should lie, and what lies over them."""
    return [layout.report_folder(run.root) / sheet_name(label, number, layer)
            for label, decided in decisions.classes.items() for number in range(-(-decided.attempts // PER_SHEET))
            for layer in ("", *layers)]


def _report_figures(run: CheckedRun, decisions: Decisions) -> Iterator[Fault]:
    tree = _record(run, REPORT)
    if isinstance(tree, Fault):
        yield tree
        return
    try:
        found = {row["label"]: row["accepted"] for row in tree["classes"]}
    except (KeyError, TypeError) as error:
        yield Fault(REPORT, f"has no figures of classes ({one_line(error, 80)})", Remedy.WRITE)
        return
    wanted = {label: decided.rows for label, decided in decisions.classes.items()}
    different = [label for label in found | wanted if found.get(label, 0) != wanted.get(label, 0)]
    if different:
        label = different[0]
        yield Fault(REPORT, f"says that {found.get(label, 0)} of {label!r} were accepted where "
                            f"{wanted.get(label, 0)} were", Remedy.WRITE)


def other_record_faults(run: CheckedRun) -> Iterator[Fault]:
    """The counts of prompts that checks dropped, and where the licence comes from, where there are any."""
    for name in (DROPS, LICENCE):
        if not (run.root / name).exists() or not isinstance(found := _record(run, name), Fault):
            continue
        if name == LICENCE and found.remedy is Remedy.WRITE:  # what somebody stated, no block can give back
            found = Fault(name, found.what, Remedy.USER, STATE_AGAIN)
        yield found


def _record(run: CheckedRun, name: str) -> dict[str, Any] | Fault:
    """What a JSON file holds, or the fault."""
    try:
        return read_record(run.root / name)
    except FileNotFoundError:
        return Fault(name, "missing", Remedy.WRITE)
    except RefusedError as error:
        return refused(name, error)
    except RecordError as error:
        return Fault(name, f"cannot be read ({one_line(error, 120)})", Remedy.WRITE)


def _text(path: Path) -> str:
    """A text file in UTF-8.

    Raises:
        FileNotFoundError: It is not there.
        DamagedError: It holds something else.
        RefusedError: It may be whole and cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, MemoryError) as error:
        raise unreadable(path, error) from error
