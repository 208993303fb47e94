"""Checks of what people read: the card and the report are there, whole, and speak of the rows that there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml
from PIL import Image

from synthesis.errors import one_line
from synthesis.prompt_checks import DROPS
from synthesis.verify_data import Decisions
from synthesis.verify_faults import Fault, Remedy, RunRecord

CARD, REPORT, PAGE = "README.md", "report/report.json", "report/index.html"


def card_faults(run: RunRecord, decisions: Decisions) -> Iterator[Fault]:
    """The card's header, and the number of rows in it."""
    path = run.root / CARD
    if not path.is_file():
        yield Fault(CARD, "missing", Remedy.WRITE)
        return
    try:
        header = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
        configured = [each["config_name"] for each in header["configs"]]
        described = header.get("dataset_info")
        rows = sum(split["num_examples"] for split in described["splits"]) if described else decisions.rows
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        yield Fault(CARD, f"its header cannot be read ({one_line(error)[:120]})", Remedy.WRITE)
        return
    if not configured or rows != decisions.rows:
        yield Fault(CARD, f"speaks of {rows} rows where {decisions.rows} were accepted", Remedy.WRITE)


def report_faults(run: RunRecord, decisions: Decisions) -> Iterator[Fault]:
    """The report's page, figures and pictures."""
    page = run.root / PAGE
    if not page.is_file():
        yield Fault(PAGE, "missing", Remedy.WRITE)
    elif not page.read_bytes().rstrip().endswith(b"</html>"):
        yield Fault(PAGE, "ends in the middle", Remedy.WRITE)
    yield from _report_figures(run, decisions)
    for path in sorted((run.root / "report").glob("*.png")):
        try:
            with Image.open(path) as picture:
                picture.load()
        except (OSError, ValueError, SyntaxError) as error:
            yield Fault(run.relative(path), f"is no picture ({one_line(error)[:80]})", Remedy.WRITE)


def _report_figures(run: RunRecord, decisions: Decisions) -> Iterator[Fault]:
    tree = _json(run, REPORT)
    if isinstance(tree, Fault):
        yield tree
        return
    try:
        found = {row["label"]: row["accepted"] for row in tree["classes"]}
    except (KeyError, TypeError) as error:
        yield Fault(REPORT, f"has no figures of classes ({one_line(error)[:80]})", Remedy.WRITE)
        return
    wanted = {label: decided.rows for label, decided in decisions.classes.items()}
    different = [label for label in found | wanted if found.get(label, 0) != wanted.get(label, 0)]
    if different:
        label = different[0]
        yield Fault(REPORT, f"says that {found.get(label, 0)} of {label!r} were accepted where "
                            f"{wanted.get(label, 0)} were", Remedy.WRITE)


def drops_faults(run: RunRecord) -> Iterator[Fault]:
    """The counts of prompts that checks dropped, where there are any."""
    if (run.root / DROPS).is_file() and isinstance(found := _json(run, DROPS), Fault):
        yield found


def _json(run: RunRecord, name: str) -> Any:  # noqa: ANN401 - what a JSON file holds, or the fault
    try:
        return json.loads((run.root / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Fault(name, "missing", Remedy.WRITE)
    except (OSError, ValueError) as error:
        return Fault(name, f"cannot be read ({one_line(error)[:120]})", Remedy.WRITE)
