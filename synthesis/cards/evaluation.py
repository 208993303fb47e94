"""The evaluation of a run as tables for its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import one_line

if TYPE_CHECKING:
    from terrasynth.eval import Evaluation

# Where `terrasynth eval RUN` is told to write what the card is to show, and under which key a report holds the figures.
KEYS = ("evaluation", "figures")


def evaluation_tables(root: Path) -> tuple[str, str]:
    """The figures and the scene accuracy by class, and what could not be read.

    Returns:
        Tables in Markdown, "" without an evaluation; then one line about a file that is there and could not be read,
        or "".
    """
    for place in layout.EVALUATIONS:
        path = root / place
        if not path.is_file():
            continue
        try:
            return _tables(_evaluation(json.loads(path.read_text(encoding="utf-8")))), ""
        except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
            return "", f"{place} holds no evaluation that this version reads ({one_line(error, 80)})"
    return "", ""


def _evaluation(content: Mapping[str, Any]) -> Evaluation:
    from pydantic import TypeAdapter

    from terrasynth.eval import Evaluation

    found = content if "scene" in content else next(
        content[key] for key in KEYS if isinstance(content.get(key), dict) and "scene" in content[key])
    return TypeAdapter(Evaluation).validate_python(found)


def _tables(found: Evaluation) -> str:
    from terrasynth.eval.evaluation.record import figures_table, notes_of, rows_of
    from terrasynth.eval.table import Table

    rows = [row for row in rows_of(found) if row.value != "not measured"]
    by_class = {} if found.scene is None else found.scene.per_class
    classes = Table(("class", "scene accuracy", "n"), tuple(
        (label, f"{share:.2f}", str(n)) for label, (share, n) in sorted(by_class.items())))
    notes = "".join(f"- {note}\n" for note in notes_of(rows))
    parts = (figures_table(rows).markdown(), notes.rstrip(), classes.markdown() if by_class else "")
    return "\n\n".join(part for part in parts if part)
