"""The report on prompt sets: a page that opens without a server, and the same figures as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from terrasynth.eval.errors import InputError
from terrasynth.eval.prompt_sets.charts import Axis, curves_svg, diagonal, limit_mark, percent, short, stairs, thinned
from terrasynth.eval.prompt_sets.comparison import Measured
from terrasynth.eval.prompt_sets.diversity import DEFINITIONS, Figures, Lengths
from terrasynth.eval.prompt_sets.tables import equal_rows, whole_rows

TEMPLATES = Path(__file__).parent / "templates"
KIND = "terrasynth prompts"
TEMPORARY = ".tmp"
SAMPLES = 3  # texts shown of each class and set


def check_report_folder(folder: Path) -> None:
    """Make the folder, or check that it is empty or holds an earlier report.

    Raises:
        InputError: It is a file, holds something else, or cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{str(folder)!r} is a file; choose a folder for the report")
    if folder.is_dir() and any(entry.suffix != TEMPORARY for entry in folder.iterdir()) and not _is_ours(folder):
        raise InputError(f"{str(folder)!r} holds files that are no prompt report; choose an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {str(folder)!r}: {error.strerror}; choose another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {str(folder)!r}: permission denied; choose another folder")


def _is_ours(folder: Path) -> bool:
    try:
        tree = json.loads((folder / "report.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(tree, dict) and tree.get("kind") == KIND


def write_prompt_report(folder: Path, measured: Measured) -> Path:
    """Write `report.json` and, last, `index.html`; equal sets give equal bytes.

    Args:
        folder: See `check_report_folder`.
        measured: What to show.

    Returns:
        The path of the page.

    Raises:
        OSError: The folder cannot be written to.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "report.json", json.dumps(to_json(measured), indent=1, ensure_ascii=False) + "\n")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )
    shown = measured.equal.figures if measured.equal else measured.figures
    page = environment.get_template("prompts.html.j2").render(
        sets=measured.sets, figures=measured.figures, equal=measured.equal, shown=shown, rows=whole_rows(measured),
        equal_rows=equal_rows(measured), charts=charts(measured), samples=_samples(measured), definitions=DEFINITIONS,
        labels=list(dict.fromkeys(label for one in measured.figures for label in one.classes)),
    )
    _write(folder / "index.html", page)
    return folder / "index.html"


def charts(measured: Measured) -> list[tuple[str, str, str]]:
    """Heading, SVG element and a line of explanation of each chart."""
    figures = measured.figures
    most = max(2, *(one.n for one in figures))
    n, distinct = Axis("texts drawn", 1, most, True, short), Axis("distinct texts", 1, most, True, short)
    shown = measured.equal.figures if measured.equal else figures
    frequencies = [[(rank, count / sum(one.frequencies)) for rank, count in enumerate(one.frequencies, 1)]
                   for one in shown]
    spoken = [points for points in frequencies if points]
    least = min([0.1, *(points[-1][1] for points in spoken)])
    rank = Axis("rank of the word", 1, max([2, *map(len, spoken)]), True, short)
    found = [
        ("Distinct texts as the set grows",
         curves_svg([one.growth for one in figures], n, distinct, "distinct texts by texts drawn",
                    [diagonal(n, distinct)]),
         "Expected number among n texts drawn at random; on the dashed line every text is new."),
        ("Words by rank and frequency",
         curves_svg([thinned(points) for points in frequencies], rank,
                    Axis("share of all words", least, 1, True, percent), "share of a word by its rank"),
         "Share of all words, from the commonest word to the rarest."),
        ("Length in words", _length_chart([one.words for one in figures], "words"), "Share of the texts."),
    ]
    tokens = [one.tokens for one in figures if one.tokens is not None]
    if tokens:
        sampled = ", ".join(f"{one.n:,}" for one in tokens)
        found.append(("Length in tokens", _length_chart(tokens, "tokens"), f"Share of the texts; n = {sampled}."))
    return found


def _length_chart(lengths: Sequence[Lengths], unit: str) -> str:
    limit = lengths[0].limit
    longest = max([1, *(one.longest for one in lengths), *([] if limit is None else [limit])])
    x = Axis(f"length in {unit}", -0.5, longest + 0.5, False, short)
    outlines = [stairs(one.counts) for one in lengths]
    y = Axis("share", 0, 1.05 * max(share for points in outlines for _, share in points), False, percent)
    marks = [] if limit is None else [limit_mark(x, limit + 0.5, f"limit {limit}")]
    return curves_svg(outlines, x, y, f"texts by length in {unit}", marks)


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


def _samples(measured: Measured) -> list[tuple[str, list[list[str]]]]:
    return [(label, [list(dict.fromkeys(one.tally.kept(label)))[:SAMPLES] for one in measured.sets])
            for label in measured.figures[0].classes]


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + TEMPORARY)
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)
