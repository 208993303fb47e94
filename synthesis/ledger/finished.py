"""Is there anything to do? A finished run notes what it was asked for and what it wrote.

Asking for the same again then takes a look at each file's name, size, times and inode instead of reading every block.
These are compared with what was noted, never with each other or with the clock, which may go back. Only a file that was
changed without a trace in the file system is missed here; `terrasynth verify` reads everything.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import isnan
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terrasynth.errors import shortened
from terrasynth.prompts.settings import first_mistake
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import RULE
from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.synthesis.core.files import readable, renew_time, sha256, stats_below
from terrasynth.synthesis.core.identity import canonical, digest
from terrasynth.synthesis.core.records import RecordError, read_record, run_error, write_record
from terrasynth.synthesis.core.storage.object_path import ObjectPath
from terrasynth.synthesis.events import ClassCount
from terrasynth.synthesis.ledger.block_files import UNREADABLE
from terrasynth.synthesis.ledger.decision_table import files_read
from terrasynth.synthesis.ledger.decisions import ClassDecisions
from terrasynth.words import counted

if TYPE_CHECKING:
    from terrasynth.synthesis.ledger.open_run import OpenRun

log = logging.getLogger("terrasynth")
PAGES = (layout.CARD, layout.REPORT_PAGE, layout.REPORT)


@dataclass(frozen=True)
class Finished:
    """What a run noted when it ended.

    Attributes:
        asked: Hash of what it was asked for, `asked_for`.
        ledger: Hash of the names, sizes, times and inodes of the files that decide and of those that were written, and
            of the names of the report's images.
        written: SHA-256 of each file of the data set, by name.
    """

    asked: str
    ledger: str
    counts: tuple[ClassCount, ...]
    written: Mapping[str, str]

    @classmethod
    def read(cls, root: Path) -> Finished:
        """The note of a run.

        Raises:
            FileNotFoundError: It has none.
            RecordError: The note cannot be believed.
            RefusedError: It may be whole and cannot be read.
        """
        try:
            note = _Note.model_validate(read_record(root / layout.FINISHED))
        except ValidationError as error:
            raise RecordError(shortened(first_mistake(error, _Note), 200)) from error
        counts = tuple(ClassCount(**count.model_dump()) for count in note.counts)
        for count in counts:
            if count.accepted + count.waiting > count.attempted:
                raise RecordError(f"{count.accepted + count.waiting} of {count.attempted} attempts of class "
                                  f"{count.label!r} were accepted, which is impossible")
        return cls(note.asked, note.ledger, counts, dict(note.written))


def asked_for(run: OpenRun, classes: Sequence[ClassDecisions]) -> str:
    """Hash of what decides the results beside the blocks: recipe, measuring models, thresholds, content of files.

    Args:
        classes: Its classes, nothing decided yet.
    """
    limits = {each.label: {name: repr(value) for name, value in each.thresholds.items() if not isnan(value)}
              for each in classes}
    return digest({
        "recipe": without_places(json.loads(canonical(run.recipe.tree()))),
        "identity": run.identity.hash,
        "measured by": list(run.encoders.keys),
        "thresholds": limits,
        "files": files_read(classes),
        "texts": RULE,
        "version": version("terrasynth"),
    })


def without_places(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe without what says where blocks are made, which decides nothing."""
    runtime = {key: value for key, value in recipe["runtime"].items() if key not in ("workers", "block_timeout")}
    return recipe | {"runtime": runtime | {"executor": "local"}}  # as in notes of versions that knew no other


def finished_counts(run: OpenRun, asked: str) -> tuple[ClassCount, ...] | None:
    """How the classes ended, where the run was finished for just this recipe and nothing was touched since."""
    try:
        noted = Finished.read(run.root)
        if noted.asked != asked or noted.ledger != _ledger(run.root, (run.root / layout.FINISHED).stat().st_ctime_ns):
            return None
        fits = noted.written.keys() == set(_written(run.root)) and _fits(run, noted.counts)
        return noted.counts if fits else None
    except FileNotFoundError:
        return None
    except (OSError, RecordError, RunError) as error:
        log.warning("%s is not used (%s): every block is read", run.root / layout.FINISHED, one_line(error, 200))
        return None


def note_finished(run: OpenRun, asked: str, counts: Sequence[ClassCount], written: Mapping[str, str]) -> None:
    """Note that everything is there, with a hash of each file of the data set."""
    note = Finished(asked, _ledger(run.root), tuple(counts), written)
    content = {"asked": note.asked, "ledger": note.ledger, "counts": [asdict(count) for count in note.counts],
               "written": dict(note.written)}
    write_record(run.root / layout.FINISHED, content, indent=1)
    renew_time(run.root / layout.FINISHED)


def written_hashes(root: Path) -> dict[str, str]:
    """SHA-256 of the decisions and of each shard of the data set, by name."""
    return {name: sha256(root / name) for name in _written(root)}


def without_images(root: Path) -> str:
    """Why a run has no data set, and what helps, on one line that goes on after "so"; for a run that has none."""
    try:
        counts = Finished.read(root).counts
    except (FileNotFoundError, RecordError):  # which `run` and `verify` name, where it is damaged
        return "its run has not ended; run it first"
    waiting = sum(each.waiting for each in counts)
    attempted = counted(sum(each.attempted for each in counts) - waiting, "image")
    if waiting:
        return (f"0 images were accepted so far: {counted(waiting, 'image')} {'waits' if waiting == 1 else 'wait'} for "
                f"review; `terrasynth review {shlex.quote(str(root))}` shows them, then run it again")
    return (f"its run ended with 0 images accepted of {attempted} that were judged: {root / layout.REPORT_PAGE} says "
            "why; loosen its filters or change what draws, and run it again")


def noted_hashes(root: Path) -> Mapping[str, str]:
    """SHA-256 of the files of the data set as the run noted them when it ended, by name; none where it was stopped.

    Raises:
        RunError: The note cannot be believed.
    """
    try:
        return Finished.read(root).written
    except FileNotFoundError:
        return {}
    except RecordError as error:
        raise run_error(root / layout.FINISHED, error, "`terrasynth verify --repair` writes it again") from error


def forget_finished(run: OpenRun) -> None:
    """Take the note back, before anything that it speaks of may change."""
    (run.root / layout.FINISHED).unlink(missing_ok=True)


def _fits(run: OpenRun, counts: Sequence[ClassCount]) -> bool:
    """Whether counts are of the run's classes and targets, and of the rows that its data set has."""
    wanted = [(label, run.target_of(label)[0]) for label in run.classes]
    if [(count.label, count.target) for count in counts] != wanted:
        return False
    try:
        rows = sum(int(pq.read_metadata(readable(path)).num_rows) for path in layout.shard_files(run.root))
    except UNREADABLE:
        return False
    return rows == sum(count.accepted for count in counts)


def _ledger(root: Path, noted_at: int | None = None) -> str:
    """Hash of the names, sizes, times and inodes of all files that a note speaks of, and of names in the report.

    Args:
        noted_at: Time of the note in ns. A file of the very same time may have been changed since without showing it,
            so that its hash comes out otherwise.

    Raises:
        OSError: A file that has to be there is not.
    """
    for name in PAGES:
        (root / name).stat()  # written anew by `push`, too
    found = hashlib.sha256()
    for name, stat in _in_order(root, [*layout.LEDGER, *_written(root), *layout.EVALUATIONS]):
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        fresh = " fresh" if stat.st_ctime_ns == noted_at else ""
        found.update(f"{name}\0{stamp}{fresh}\0".encode("utf-8", "surrogateescape"))
    for name in [*(path.name for path in layout.report_pictures(root)), *layout.report_sheets(root)]:
        found.update(f"{name}\0".encode("utf-8", "surrogateescape"))  # that none of them is gone
    return found.hexdigest()[:16]


def _in_order(root: Path, names: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Files by name, and those of the ledger folder by folder: a million rows need no more memory than one class.

    Args:
        names: Files, and folders of the ledger; a folder or an evaluation may not be there.
    """
    for name in sorted(names, key=lambda name: name.split("/")):
        if name in layout.LEDGER:
            yield from _in_folder(root / name, name) if (root / name).is_dir() else ()
        elif name not in layout.EVALUATIONS or (root / name).is_file():
            yield name, (root / name).stat()


def _in_folder(folder: Path, name: str) -> Iterator[tuple[str, os.stat_result]]:
    if isinstance(folder, ObjectPath):
        for path, stat in sorted(stats_below(folder), key=itemgetter(0)):
            yield f"{name}/{path.relative_to(folder)}", stat
        return
    with os.scandir(folder) as entries:
        inside = sorted((entry.name, entry) for entry in entries)
    for own, entry in inside:
        if entry.is_dir():
            yield from _in_folder(folder / own, f"{name}/{own}")
        else:
            yield f"{name}/{own}", entry.stat()


def _written(root: Path) -> list[str]:
    shards = [path.relative_to(root).as_posix() for path in layout.shard_files(root)]
    return [layout.DECISIONS, *shards]


_Number = Annotated[int, Field(ge=0)]
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class _Count(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    label: str
    attempted: _Number
    accepted: _Number
    target: _Number
    waiting: _Number = 0  # notes of earlier versions do not say


class _Note(BaseModel):
    """What `finished.json` may say."""

    model_config = ConfigDict(extra="forbid", strict=True)

    asked: _Digest
    ledger: _Digest
    counts: list[_Count]
    written: dict[str, _Hash]
