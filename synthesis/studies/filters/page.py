"""The control of the filters as a page that opens without a server, as JSON, and as sheets of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.synthesis.core.errors import disk_errors
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.images import decode

if TYPE_CHECKING:
    from terrasynth.eval.metrics.random_keep import Comparison
    from terrasynth.eval.pages.sheets import SheetItem
    from terrasynth.synthesis.studies.filters.control import FilterControl, FilterFinding

TEMPLATES = Path(__file__).parents[1] / "templates"
COLUMNS, THUMB = 4, 112
WIDTH, HEIGHT, MARGIN = 300, 34, 8


def write_control(folder: Path, control: FilterControl) -> Path:
    """Write `index.html`, `filters.json` and two sheets of pictures a filter.

    Args:
        folder: Made where it is missing; files of the same names are replaced.
        control: What was found.

    Returns:
        The page.

    Raises:
        InputError: The folder cannot be written to.
        RunError: The disk is full.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from terrasynth.eval.pages.run_report import TEMPLATES as SHARED

    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, SHARED]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )
    environment.globals["strip"] = strip_svg
    with disk_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        sheets = [_sheets(folder, place, control, each) for place, each in enumerate(control.findings)]
        write_file(folder / "filters.json", json.dumps(control.to_json(), indent=1) + "\n")
        page = environment.get_template("filters.html.j2").render(control=control, sheets=sheets)
        write_file(folder / "index.html", page)
    return folder / "index.html"


def strip_svg(comparison: Comparison) -> str:
    """The kept set as a dot over the random keeps: their 95 % range as a band, their mean as a line."""
    shown = (comparison.kept, comparison.random_low, comparison.random_high)
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return MARGIN + (value - low) / span * (WIDTH - 2 * MARGIN)

    middle = HEIGHT / 2
    kind = ("accepted" if comparison.better else "rejected") if comparison.different else "beyond"
    label = (f"kept {comparison.kept:.4f}, random keep {comparison.random_mean:.4f}, 95 % from "
             f"{comparison.random_low:.4f} to {comparison.random_high:.4f}")
    band = max(1.0, x(comparison.random_high) - x(comparison.random_low))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"><title>{label}</title>'
        f'<line class="grid" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{middle}" y2="{middle}"/>'
        f'<rect class="null" x="{x(comparison.random_low):.1f}" y="{middle - 6}" width="{band:.1f}" height="12" '
        f'rx="3"/>'
        f'<line class="mean" x1="{x(comparison.random_mean):.1f}" x2="{x(comparison.random_mean):.1f}" '
        f'y1="{middle - 9}" y2="{middle + 9}"/>'
        f'<circle class="{kind}" cx="{x(comparison.kept):.1f}" cy="{middle}" r="6"/></svg>'
    )


def _sheets(folder: Path, place: int, control: FilterControl, finding: FilterFinding) -> dict[str, str]:
    """Names of the sheets by what they show; a sheet of nothing is not written."""
    from terrasynth.eval.pages.sheets import contact_sheet

    found = {}
    for kind, numbers in (("removed", finding.removed_sample), ("kept", finding.kept_sample)):
        path = folder / f"{place:02d}-{kind}.png"
        path.unlink(missing_ok=True)
        if numbers:
            contact_sheet(_items(control, finding, numbers), COLUMNS, THUMB).save(path, optimize=True)
            found[kind] = path.name
    return found


def _items(control: FilterControl, finding: FilterFinding, numbers: tuple[int, ...]) -> list[SheetItem]:
    from terrasynth.eval.pages.sheets import SheetItem

    rows = control.attempts.rows(numbers, ["image", "text", "label"])
    scores = [{"score": finding.sample_scores[number]} if number in finding.sample_scores else {} for number in numbers]
    return [
        SheetItem(decode(row["image"]["bytes"]), row["label"], row["text"], score)
        for row, score in zip(rows, scores, strict=True)
    ]
