"""Is there anything to do? A finished run notes what it was asked for and what it wrote.

Asking for the same again then takes a look at each file's name, size and time instead of reading every block. Only a
file that was changed without a trace in the file system is missed here; `terrasynth verify` reads everything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from synthesis.card_evaluation import PLACES
from synthesis.decisions import ClassDecisions, files_read
from synthesis.drawn_texts import RULE
from synthesis.events import ClassCount
from synthesis.files import write_file
from synthesis.identity import canonical, digest

if TYPE_CHECKING:
    from synthesis.job import Job

FILE = "finished.json"
DECISIONS, DATA = "decisions.parquet", "data/train-*.parquet"
PAGES = ("README.md", "report/index.html", "report/report.json")


def asked_for(job: Job, classes: Sequence[ClassDecisions]) -> str:
    """Hash of what decides the results beside the blocks: recipe, measuring models, thresholds, content of files.

    Args:
        job: The run.
        classes: Its classes, nothing decided yet.
    """
    limits = {each.label: {name: repr(value) for name, value in each.thresholds.items() if not isnan(value)}
              for each in classes}
    return digest({
        "recipe": json.loads(canonical(job.recipe.tree())),
        "identity": job.identity.hash,
        "measured by": list(job.encoders.keys),
        "thresholds": limits,
        "files": files_read(classes),
        "texts": RULE,
        "version": version("terrasynth"),
    })


def finished_counts(job: Job, asked: str) -> tuple[ClassCount, ...] | None:
    """How the classes ended, where the run was finished for just this recipe and nothing was touched since.

    Args:
        job: The run.
        asked: `asked_for` it.
    """
    try:
        noted = json.loads((job.root / FILE).read_text(encoding="utf-8"))
        since = (job.root / FILE).stat().st_ctime_ns
        if noted["asked"] != asked or any(changed >= since for changed in _changes(job.root)):
            return None
        there = noted["ledger"] == _ledger(job.root) and noted["written"].keys() == set(_written(job.root))
        return tuple(ClassCount(**count) for count in noted["counts"]) if there else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # without a note that can be read, the blocks are


def note_finished(job: Job, asked: str, counts: Sequence[ClassCount]) -> None:
    """Note that everything is there, with a hash of each file of the data set.

    Args:
        job: The run.
        asked: `asked_for` it.
        counts: How they ended.
    """
    note = {
        "asked": asked,
        "ledger": _ledger(job.root),
        "counts": [asdict(count) for count in counts],
        "written": {name: sha256(job.root / name) for name in _written(job.root)},
    }
    write_file(job.root / FILE, json.dumps(note, indent=1) + "\n")
    os.utime(job.root / FILE)  # an equal note stays where it is, and has to be newer than all it speaks of


def forget_finished(job: Job) -> None:
    """Take the note back, before anything that it speaks of may change."""
    (job.root / FILE).unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ledger(root: Path) -> str:
    """Names and sizes of everything below `blocks/` and `scores/`."""
    found = hashlib.sha256()
    for entry in sorted(_files(root), key=lambda each: each.path):
        found.update(f"{os.path.relpath(entry.path, root)}\0{entry.stat().st_size}\0".encode())
    return found.hexdigest()[:16]


def _files(root: Path) -> Iterator[os.DirEntry[str]]:
    folders = [root / "blocks", root / "scores"]
    while folders:
        folder = folders.pop()
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(Path(entry.path))
                else:
                    yield entry


def _written(root: Path) -> list[str]:
    shards = [path.relative_to(root).as_posix() for path in sorted(root.glob(DATA))]
    return [DECISIONS, *shards]


def _changes(root: Path) -> Iterator[int]:
    """When the files that count were last changed, in a clock that no copy and no `touch` can set back.

    Raises:
        OSError: One that has to be there is not.
    """
    yield from (entry.stat().st_ctime_ns for entry in _files(root))
    yield from ((root / name).stat().st_ctime_ns for name in _written(root))
    yield from ((root / name).stat().st_ctime_ns for name in PLACES if (root / name).is_file())
    for name in PAGES:
        (root / name).stat()  # written anew by `push`, too
