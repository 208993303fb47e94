"""The findings of `eval downstream` as one page that opens without a server: charts, tables, nothing loaded."""

from __future__ import annotations

from pathlib import Path

from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.studies.downstream.arms import ARMS
from terrasynth.synthesis.studies.downstream.chart import chart
from terrasynth.synthesis.studies.downstream.table import (
    MARK,
    METRICS,
    NOTES,
    TITLES,
    Report,
    arm_table,
    by_chance,
    chance_note,
    class_table,
    pair_table,
    verdicts,
)

TEMPLATES = Path(__file__).parents[1] / "templates"


def write_page(out: Path, report: Report) -> Path:
    """Write `index.html`.

    Args:
        out: Made where it is missing.
        report: What was found.

    Returns:
        The page.

    Raises:
        InputError: The folder cannot be written to.
        RunError: The disk is full.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["plain"] = plain
    tasks = [
        {
            "title": TITLES[each.task], "verdicts": verdicts(each), "about": chance_note(each), "chart": chart(each),
            "metric": METRICS[each.task], "by_chance": by_chance(each), "arms": arm_table(each, report.exposure),
            "pairs": pair_table(each), "classes": class_table(each),
        }
        for each in report.tasks
    ]
    page = environment.get_template("downstream.html.j2").render(
        report=report, tasks=tasks, arms=ARMS, notes=NOTES, mark=MARK
    )
    write_file(out / "index.html", page)
    return out / "index.html"


def plain(text: str) -> str:
    """Markdown's marks of our own sentences left out."""
    return text.replace("**", "").replace("`", "")
