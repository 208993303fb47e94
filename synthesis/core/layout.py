"""Where everything lies in a run directory; no other module spells a path inside a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from glob import escape as _literal
from pathlib import Path

from terrasynth.synthesis.core.storage.object_path import ObjectPath

RECIPE, IDENTITY, RUNTIME = "recipe.yaml", "identity.json", "runtime.json"
DECISIONS, FINISHED, DATA = "decisions.parquet", "finished.json", "data/train-*.parquet"
LICENCE, PROMPT_DROPS, VERDICTS = "licence.json", "prompt_drops.json", "review/verdicts.jsonl"
ONTOLOGY = "classes.yaml"
CARD, REPORT_PAGE, REPORT = "README.md", "report/index.html", "report/report.json"
EVALUATIONS = ("evaluation.json", "evaluation/report.json")
_BLOCKS = "blocks"
_SCORES = "scores"
_AHEAD = "ahead"
_NOTED = "decided"
SHARED = (_SCORES, _AHEAD)
"""Folders to which workers write, beside the process that holds the run."""
LEDGER = (_BLOCKS, _SCORES)
"""Names of the folders of what decides: drawn blocks and measurements."""


def names_in(folder: Path) -> list[str]:
    """Names of what lies in a folder, in any order and without a path each; none where there is no folder.

    A folder of blocks holds some thousands, and is listed each time that a run begins.
    """
    try:
        return [path.name for path in folder.iterdir()] if isinstance(folder, ObjectPath) else os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def block_folder(run: Path, label: str) -> Path:
    """The folder of a class's blocks."""
    return run / _BLOCKS / label


def block_file(run: Path, label: str, index: int) -> Path:
    """One block of a class."""
    return block_folder(run, label) / f"{index:05d}.parquet"


def block_folders(run: Path) -> list[Path]:
    """The folders of all classes, by name."""
    return sorted(path for path in (run / _BLOCKS).glob("*") if path.is_dir())


def block_files(run: Path) -> list[Path]:
    """All blocks, by class and number."""
    return sorted((run / _BLOCKS).glob("*/*.parquet"))


def first_block(run: Path) -> Path | None:
    """The first of all blocks, by class and number, without a list of all; None where there is none."""
    for folder, names in _blocks(run):
        if names:
            return folder / min(names)
    return None


def count_blocks(run: Path) -> int:
    """How many blocks there are, without a list of them."""
    return sum(len(names) for _, names in _blocks(run))


def block_names(run: Path, label: str) -> list[str]:
    """Names of the blocks of a class, in any order."""
    return [name for name in names_in(block_folder(run, label)) if name.endswith(".parquet")]


def _blocks(run: Path) -> Iterator[tuple[Path, list[str]]]:
    """The folder of each class, by name, with the names of its blocks."""
    for label in sorted(names_in(run / _BLOCKS)):
        yield block_folder(run, label), block_names(run, label)


def scores_file(run: Path, encoder: str, label: str, index: int) -> Path:
    """What another encoder than the first measured of a block."""
    return run / _SCORES / encoder / label / f"{index:05d}.parquet"


def scores_files(run: Path) -> list[Path]:
    """All such files, by encoder, class and number."""
    return sorted((run / _SCORES).glob("*/*/*.parquet"))


def scores_of_block(run: Path, label: str, index: int) -> list[Path]:
    """What all other encoders measured of a block."""
    return sorted((run / _SCORES).glob(f"*/{_literal(label)}/{index:05d}.parquet"))


def encoder_of(scores: Path) -> str:
    """The encoder whose measurements a file holds, by its place."""
    return scores.parent.parent.name


def ahead(run: Path) -> Path:
    """Where blocks lie that were made before it was known that they are needed, as `blocks` and `scores` in a run."""
    return run / _AHEAD


def data_folder(run: Path) -> Path:
    """The folder of the data set."""
    return (run / DATA).parent


def shard_file(run: Path, number: int) -> Path:
    """One shard of the data set."""
    return data_folder(run) / f"train-{number:05d}.parquet"


def shard_files(run: Path) -> list[Path]:
    """The shards of the data set, in order."""
    return sorted(run.glob(DATA))


def report_folder(run: Path) -> Path:
    """The folder of the report."""
    return (run / REPORT).parent


def report_sheets(run: Path) -> list[str]:
    """Names of the sheets of all images beside the report, and of what lies over them; some thousands, so no paths."""
    return sorted(name for name in names_in(report_folder(run))
                  if name.startswith("images-") and name.endswith((".jpg", ".png")))


def report_pictures(run: Path) -> list[Path]:
    """The contact sheets of the report, by name."""
    folder = report_folder(run)
    return [folder / name for name in sorted(names_in(folder))
            if name.endswith(".png") and not name.startswith("images-")]


def note_file(run: Path, number: int) -> Path:
    """One file of noted decisions."""
    return notes_folder(run) / f"{number:05d}.json"


def notes_folder(run: Path) -> Path:
    """The folder of noted decisions."""
    return run / _NOTED


def note_files(run: Path) -> dict[int, Path]:
    """The files of noted decisions by number, in order; what is named otherwise is none."""
    stems = (name.removesuffix(".json") for name in names_in(notes_folder(run)) if name.endswith(".json"))
    return {number: note_file(run, number) for number in sorted(int(stem) for stem in stems if _is_number(stem))}


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdecimal() and f"{int(stem):05d}" == stem
