"""Decisions noted from time to time, so that a run that was killed need not read all its blocks before it goes on.

A note says what was decided on a block and which files on the disk that was read from, by size, times and inode. It
counts only while these are exactly the same, for the same filters under the same thresholds; a block without one is
read. So a checkpoint that is missing, old or damaged costs time and changes nothing. What a filter remembers of
accepted pictures (`duplicate`) stays in the blocks; a note holds a hash of it (`remembering.py`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from synthesis.decisions import ClassDecisions, DecidedBlock, files_read
from synthesis.files import replacing
from synthesis.identity import canonical, digest
from synthesis.remembering import HASH_BYTES, NOTHING

if TYPE_CHECKING:
    from synthesis.job import Job

FILE = "checkpoint.bin"
FORMAT = 2
EVERY_SECONDS, MOST_SHARE = 10.0, 0.02  # between two checkpoints, and of a run's time that they may take
_STAMP = 4
_ABSENT = (0,) * _STAMP
Stamps = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Noted:
    """What a checkpoint says of one class.

    Attributes:
        stamps: int64 (blocks, files, 4), of the files that a block was read from; zeros where there is none.
        codes: int8 (blocks, block_size).
        scores: float32 (blocks, block_size, filters).
        thresholds: By filter name.
        memory: uint8 (blocks + 1, 16), `ClassMemory.hashes`.
    """

    stamps: NDArray[np.int64]
    codes: NDArray[np.int8]
    scores: NDArray[np.float32]
    thresholds: Mapping[str, float]
    memory: NDArray[np.uint8]


@dataclass
class Checkpoint:
    """The notes of one run: those of an earlier process, and those that this one makes.

    Attributes:
        job: The run.
        key: Hash of what decides beside blocks and thresholds.
    """

    job: Job
    key: str
    _noted: dict[str, _Noted] = field(default_factory=dict)
    _stamps: dict[str, list[Stamps]] = field(default_factory=dict)
    _next: float = field(default_factory=lambda: time.monotonic() + EVERY_SECONDS)

    @classmethod
    def of(cls, job: Job, classes: Sequence[ClassDecisions]) -> Self:
        """What an earlier process noted for the same filters, as far as it can be read.

        Args:
            job: The run.
            classes: Its classes, nothing decided yet.
        """
        found = cls(job, _key(job, classes))
        try:
            found._noted = _read(job.root / FILE, found.key)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            found._noted = {}  # without notes that can be read, the blocks are
        return found

    def stamps(self, label: str, index: int) -> Stamps:
        """Size, times and inode of the files that decide on a block; zeros for one that is not there."""
        return tuple(map(_stamp, self.job.blocks.files(label, index, self.job.encoders.keys)))

    def known(self, label: str, index: int, stamps: Stamps) -> DecidedBlock | None:
        """What was decided on a block, if it was read from files with just these stamps."""
        noted = self._noted.get(label)
        if noted is None or index >= len(noted.stamps) or stamps[0] == _ABSENT:
            return None
        if not np.array_equal(noted.stamps[index], np.array(stamps, np.int64)):
            return None
        before, after = (noted.memory[place].tobytes() for place in (index, index + 1))
        return DecidedBlock(noted.codes[index], noted.scores[index], noted.thresholds, before, after)

    def note(self, decided: ClassDecisions, index: int, before: Stamps) -> None:
        """Note which files a block was read from, or written to.

        Args:
            decided: Its class, the block decided on or waiting for others.
            index: Its place there.
            before: Stamps from before it was read; a file that changed since is not noted.
        """
        stamps = self._stamps.setdefault(decided.label, [])
        now = self.stamps(decided.label, index)
        same = all(old in (_ABSENT, new) for old, new in zip(before, now, strict=True))
        stamps.append(now if same else (_ABSENT,) * len(now))

    def save(self, classes: Sequence[ClassDecisions], now: bool = False) -> None:
        """Write the notes, where the last time is long enough ago or it has to be now.

        Raises:
            RunError: The disk is full.
        """
        start = time.monotonic()
        if start < self._next and not now:
            return
        if sum(map(len, self._stamps.values())) >= sum(len(each.stamps) for each in self._noted.values()):
            self._write(classes)
        end = time.monotonic()
        self._next = end + max(EVERY_SECONDS, (end - start) / MOST_SHARE)

    def _write(self, classes: Sequence[ClassDecisions]) -> None:
        counts = {each.label: min(each.decided_blocks, len(self._stamps.get(each.label, ()))) for each in classes}
        head = {
            "format": FORMAT, "key": self.key, "rows": self.job.blocks.block_size,
            "files": 1 + len(self.job.encoders.keys), "filters": len(self.job.recipe.filters),
            "classes": {each.label: {"blocks": counts[each.label],
                                     "thresholds": {name: value.hex() for name, value in each.thresholds.items()}}
                        for each in classes},
        }
        with replacing(self.job.root / FILE) as file:
            writer = _Hashed(file)
            writer.write(canonical(head).encode() + b"\n")
            for each in classes:
                blocks = [each.decided_block(index) for index in range(counts[each.label])]
                writer.write(np.array(self._stamps.get(each.label, [])[: len(blocks)], "<i8").tobytes())
                for block in blocks:
                    writer.write(block.codes.tobytes())
                for block in blocks:
                    writer.write(block.scores.astype("<f4").tobytes())
                writer.write(b"".join([NOTHING, *(block.after for block in blocks)]))
            file.write(writer.hash.digest())


class _Hashed:
    def __init__(self, file: BinaryIO) -> None:
        self.hash = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> None:
        self.hash.update(data)
        self._file.write(data)


def _read(path: Path, key: str) -> dict[str, _Noted]:
    """The notes in a file, or none where they were made under another key.

    Raises:
        OSError: It is not there.
        ValueError: It is damaged.
    """
    content = path.read_bytes()
    size = hashlib.sha256().digest_size
    body = memoryview(content)[:-size]
    if hashlib.sha256(body).digest() != content[-size:]:
        raise ValueError("the checksum does not fit")
    start = content.index(b"\n") + 1
    head = json.loads(content[:start])
    if head["format"] != FORMAT or head["key"] != key:
        return {}
    rows, files, filters = head["rows"], head["files"], head["filters"]
    found = {}
    for label, each in head["classes"].items():
        blocks = each["blocks"]
        stamps, start = _array(body, start, "<i8", (blocks, files, _STAMP))
        codes, start = _array(body, start, "i1", (blocks, rows))
        scores, start = _array(body, start, "<f4", (blocks, rows, filters))
        memory, start = _array(body, start, "u1", (blocks + 1, HASH_BYTES))
        thresholds = {name: float.fromhex(value) for name, value in each["thresholds"].items()}
        found[label] = _Noted(stamps, codes, scores, thresholds, memory)
    return found


def _array(body: memoryview, start: int, kind: str, shape: tuple[int, ...]) -> tuple[NDArray[Any], int]:
    """An array in the middle of bytes, and where it ends."""
    end = start + np.dtype(kind).itemsize * prod(shape)
    return np.frombuffer(body[start:end], kind).reshape(shape), end


def _key(job: Job, classes: Sequence[ClassDecisions]) -> str:
    """Hash of what decides beside blocks and thresholds; not the target, which a run may outgrow."""
    return digest({
        "identity": job.identity.hash,
        "block_size": job.blocks.block_size,
        "filters": json.loads(canonical(job.recipe.tree()))["filters"],
        "names": list(job.recipe.filter_names),
        "measured by": list(job.encoders.keys),
        "files": files_read(classes),
        "version": version("terrasynth"),
    })


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return _ABSENT
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
