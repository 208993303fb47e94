"""Decisions that are noted while a run goes on, so that one that is resumed need not read every block.

After `BLOCKS` decided blocks, of whatever classes, one more file of `RUN/decided/` says what was decided on each. A
note holds for the filters and thresholds that it was made under, and for files that are known again by their stamps
(`core/stamps.py`). Of anything else the blocks are read: notes save time and decide nothing. One that does not hold is
removed before anything else is done, so that it cannot come to hold later.

Filters that compare with earlier images have to see these again, so that with them nothing is noted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terrasynth.errors import shortened
from terrasynth.prompts.settings import first_mistake
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import one_line
from terrasynth.synthesis.core.files import renew_time
from terrasynth.synthesis.core.identity import canonical, digest
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.synthesis.core.stamps import ABSENT, Stamp, stamp_of, stamps_in
from terrasynth.synthesis.core.storage.object_path import ObjectPath
from terrasynth.synthesis.ledger.decision_table import files_read
from terrasynth.synthesis.ledger.decisions import ClassDecisions

if TYPE_CHECKING:
    from terrasynth.synthesis.ledger.open_run import OpenRun

BLOCKS = 256  # a kill costs the reading of so many, which takes a tenth of a second or two
TICKS = 50  # milliseconds to wait for a clock of files that ticks seldom
log = logging.getLogger("terrasynth")


@dataclass(frozen=True, slots=True)
class NotedBlocks:
    """What one file says of consecutive blocks of one class.

    Attributes:
        first: The first of them.
        blocks: How many.
        basis: Hash of what was decided by: thresholds, and stamps of the files.
        codes: int8 (blocks * rows), as `ClassDecisions` has them, in hexadecimal digits.
        scores: float32 (blocks * rows * filters), little-endian, in hexadecimal digits.
    """

    label: str
    first: int
    blocks: int
    basis: str
    codes: str
    scores: str

    def arrays(self, filters: int) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
        """Codes (blocks, rows) and scores (blocks, rows, filters); None where they do not fit together."""
        codes = np.frombuffer(bytes.fromhex(self.codes), np.int8)
        scores = np.frombuffer(bytes.fromhex(self.scores), "<f4")
        if not len(codes) or len(codes) % self.blocks or len(scores) != len(codes) * filters:
            return None
        rows = len(codes) // self.blocks
        return codes.reshape(self.blocks, rows), scores.reshape(self.blocks, rows, filters)


def read_notes(path: Path) -> tuple[str, list[NotedBlocks]]:
    """The key of a file of notes, and what it says.

    Raises:
        FileNotFoundError: It is not there.
        RecordError: It cannot be believed.
        RefusedError: It may be whole and cannot be read.
    """
    try:
        found = _File.model_validate(read_record(path))
    except ValidationError as error:
        raise RecordError(shortened(first_mistake(error, _File), 200)) from error
    return found.key, [NotedBlocks(**each.model_dump()) for each in found.classes]


class DecisionNotes:
    """The notes of a run that is held for writing: those of earlier processes, and those that this one makes."""

    def __init__(self, run: OpenRun, classes: Sequence[ClassDecisions]) -> None:
        """Read what was noted by the same filters; what was noted by others, or is damaged, is removed.

        Args:
            classes: Its classes, nothing decided yet.

        Raises:
            RefusedError: A file may be whole and cannot be read.
        """
        self._run, self._classes = run, classes
        self._works = not any(each.remembers for each in classes)
        self._key = _key(run, classes)
        self._noted = dict.fromkeys((each.label for each in classes), 0)  # of the first blocks of a class
        self._seen = dict(self._noted)
        self._waiting = 0  # blocks that are decided on and not noted
        self._found: dict[str, list[tuple[int, NotedBlocks]]] = {}  # with the number of the file
        self._next = 0
        for number, path in layout.note_files(run.root).items():
            self._next = number + 1
            if (found := self._read(path)) is None:
                path.unlink(missing_ok=True)
            for each in found or ():
                self._found.setdefault(each.label, []).append((number, each))

    def of(self, label: str) -> bool:
        """Whether anything was noted of a class."""
        return label in self._found

    def take(self, decided: ClassDecisions) -> Iterator[range]:
        """Take over decisions on the next blocks of a class, as far as notes hold; yields the blocks.

        Args:
            decided: The class, whose thresholds are known.
        """
        found, files = self._found.pop(decided.label, []), _Stamps.of_class(self._run, decided.label)
        covered, fallen = 0, set[int]()
        for number, each in found:
            noted = layout.note_file(self._run.root, number)
            arrays = each.arrays(decided.filters)
            if arrays is None or not files.hold(noted, each, decided):
                fallen.add(number)
                continue
            end = each.first + each.blocks
            covered = end if each.first <= covered < end else covered
            if each.first <= decided.blocks < end:
                past, first = decided.blocks - each.first, decided.blocks
                yield range(first, first + decided.take_over(arrays[0][past:], arrays[1][past:]))
        for number in sorted(fallen):
            self._drop(number, decided, files)
        self._noted[decided.label] = self._seen[decided.label] = min(covered, decided.decided)
        self.decided(decided)

    def decided(self, decided: ClassDecisions) -> None:
        """Take in that more was decided on a class, and note it where that is enough.

        Raises:
            RunError: The disk is full.
        """
        self._waiting += decided.decided - self._seen[decided.label]
        self._seen[decided.label] = decided.decided
        if self._works and self._waiting >= BLOCKS:
            self._write()

    def _write(self) -> None:
        newest, noted = 0, list[NotedBlocks]()
        for each in self._classes:
            if (first := self._noted[each.label]) < each.decided:
                files = _Stamps.of_blocks(self._run, each.label, range(first, each.decided))
                noted.append(_note_of(each, first, files))
                newest = max(newest, files.newest)
        _save(layout.note_file(self._run.root, self._next), self._key, noted, newest)
        self._noted = {each.label: each.decided for each in self._classes}
        self._next, self._waiting = self._next + 1, 0

    def _read(self, path: Path) -> list[NotedBlocks] | None:
        """What a file says; None where it says nothing of use."""
        try:
            key, found = read_notes(path)
        except RecordError as error:
            log.warning("%s is not used (%s): the blocks that it speaks of are read", path, one_line(error, 200))
            return None
        return found if self._works and key == self._key else None

    def _drop(self, number: int, decided: ClassDecisions, files: _Stamps) -> None:
        """Write a file again without what no longer holds of a class."""
        path = layout.note_file(self._run.root, number)
        left = [each for each in read_notes(path)[1]
                if each.label != decided.label or (each.arrays(decided.filters) and files.hold(path, each, decided))]
        if left:
            _save(path, self._key, left, files.newest)
        else:
            path.unlink(missing_ok=True)


class _Stamps:
    """Stamps of blocks of a class, and of what each model of the filters measured of them."""

    def __init__(self, of_blocks: Mapping[str, Stamp], of_scores: Sequence[Mapping[str, Stamp]]) -> None:
        """Take stamps by the names of files: of blocks, and of the scores by each model."""
        self._blocks, self._scores = of_blocks, of_scores

    @classmethod
    def of_class(cls, run: OpenRun, label: str) -> _Stamps:
        """Those of all blocks of a class, listed."""
        folders = [layout.scores_file(run.root, key, label, 0).parent for key in run.encoders.keys]
        return cls(stamps_in(layout.block_folder(run.root, label)), [stamps_in(folder) for folder in folders])

    @classmethod
    def of_blocks(cls, run: OpenRun, label: str, indices: range) -> _Stamps:
        """Those of some blocks of a class, asked for one by one."""
        blocks = [layout.block_file(run.root, label, index) for index in indices]
        scores = [[layout.scores_file(run.root, key, label, index) for index in indices] for key in run.encoders.keys]
        return cls({path.name: stamp_of(path) for path in blocks},
                   [{path.name: stamp_of(path) for path in each} for each in scores])

    @property
    def newest(self) -> int:
        """The time in ns of the file that was changed last; 0 where there is none."""
        return max((stamp[2] for files in (self._blocks, *self._scores) for stamp in files.values()), default=0)

    def basis(self, indices: range, decided: ClassDecisions) -> str:
        """Hash of the thresholds of a class and of the stamps of its blocks."""
        return _basis(list(self._of(indices)), decided)

    def hold(self, path: Path, noted: NotedBlocks, decided: ClassDecisions) -> bool:
        """Whether blocks, thresholds and scores are those of a note; not where one is as new as its file."""
        try:
            fresh = -1 if isinstance(path, ObjectPath) else path.stat().st_ctime_ns
        except FileNotFoundError:
            return False
        stamps = list(self._of(range(noted.first, noted.first + noted.blocks)))
        if any(each[0] == ABSENT for each in stamps) or any(one[2] == fresh for each in stamps for one in each):
            return False
        return _basis(stamps, decided) == noted.basis

    def _of(self, indices: range) -> Iterator[tuple[Stamp, ...]]:
        for index in indices:
            name = f"{index:05d}.parquet"
            yield self._blocks.get(name, ABSENT), *(each.get(name, ABSENT) for each in self._scores)


def _basis(stamps: Sequence[tuple[Stamp, ...]], decided: ClassDecisions) -> str:
    return hashlib.sha256(repr((sorted(decided.thresholds.items()), stamps)).encode()).hexdigest()[:16]


def _note_of(decided: ClassDecisions, first: int, files: _Stamps) -> NotedBlocks:
    codes, scores = decided.coded(first, decided.decided)
    return NotedBlocks(decided.label, first, decided.decided - first,
                       files.basis(range(first, decided.decided), decided), codes.tobytes().hex(),
                       scores.astype("<f4").tobytes().hex())


def _save(path: Path, key: str, noted: Sequence[NotedBlocks], newest: int) -> None:
    """Write a file whose time tells it from those that it speaks of, the newest of which has a time of so many ns."""
    write_record(path, {"key": key, "classes": [asdict(each) for each in noted]}, indent=1)
    for _ in range(TICKS):
        if isinstance(path, ObjectPath) or path.stat().st_ctime_ns != newest:
            break
        time.sleep(0.001)
        renew_time(path)


def _key(run: OpenRun, classes: Sequence[ClassDecisions]) -> str:
    """Hash of what decides beside blocks and thresholds; not the target, which a run may outgrow."""
    return digest({
        "identity": run.identity.hash,
        "block size": run.blocks.block_size,
        "filters": json.loads(canonical(run.recipe.tree()))["filters"],
        "names": list(run.recipe.filter_names),
        "measured by": list(run.encoders.keys),
        "files": files_read(classes),
        "version": version("terrasynth"),
    })


class _Class(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    label: str
    first: int = Field(ge=0)
    blocks: int = Field(ge=1)
    basis: str = Field(pattern=r"^[0-9a-f]{16}$")
    codes: str = Field(pattern=r"^([0-9a-f]{2})+$")
    scores: str = Field(pattern=r"^([0-9a-f]{8})*$")


class _File(BaseModel):
    """What a file of notes may say."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str
    classes: list[_Class]
