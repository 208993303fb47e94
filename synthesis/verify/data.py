"""Checks of the data set: decisions cover the blocks, and `data/` holds what they accepted, as the blocks have it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import what_holds
from terrasynth.synthesis.core.errors import RefusedError, one_line
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.core.records import RecordError
from terrasynth.synthesis.core.round_robin import round_robin
from terrasynth.synthesis.ledger.block_files import UNREADABLE
from terrasynth.synthesis.ledger.blocks import LAYOUT
from terrasynth.synthesis.ledger.decision_table import score_names
from terrasynth.synthesis.ledger.decisions import NOT_JUDGED, UNREVIEWED, WITHHELD
from terrasynth.synthesis.ledger.finished import Finished
from terrasynth.synthesis.ledger.label_columns import with_labels
from terrasynth.synthesis.ledger.shards import columns_read
from terrasynth.synthesis.verify.blocks import FILE_NAME, missing_block
from terrasynth.synthesis.verify.faults import Fault, Remedy, refused, unreadable, unreadable_content
from terrasynth.synthesis.verify.record import CheckedRun

PART = 100  # rows in memory at a time
CONSTANT = ("generator", "revision", "guidance", "steps", "synthetic")


@dataclass
class RecordedDecisions:
    """What `decisions.parquet` says of one class; some twenty bytes an attempt.

    Attributes:
        accepted: k of the accepted ones, in parts.
        scores: Their scores, float32 (n, filters), in parts.
        judgements: Of each attempt a byte: 1 for accepted, -1 for rejected, 0 for neither.
    """

    attempts: int = 0
    accepted: list[NDArray[np.int64]] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    judgements: array[int] = field(default_factory=lambda: array("b"))

    @property
    def rows(self) -> int:
        """Accepted attempts."""
        return sum(map(len, self.accepted))


@dataclass(frozen=True)
class Decisions:
    """What `decisions.parquet` says, in the order of the data set.

    Attributes:
        classes: By label.
        names: The fields of a row's scores.
    """

    classes: Mapping[str, RecordedDecisions]
    names: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows that the data set should have."""
        return sum(each.rows for each in self.classes.values())


def hash_faults(run: CheckedRun, decisions: Decisions | None, fast: bool) -> Iterator[Fault]:
    """What the run noted when it ended: how its classes ended and, unless `fast`, hashes of the data set's files."""
    try:
        noted = Finished.read(run.root)
    except FileNotFoundError:
        return
    except RefusedError as error:
        yield refused(layout.FINISHED, error)
        return
    except RecordError as error:
        yield Fault(layout.FINISHED, f"cannot be believed ({one_line(error, 160)})", Remedy.WRITE)
        return
    written = {} if fast else noted.written
    for name, hashed in written.items():
        path = run.root / name
        if not path.is_file():
            continue
        try:
            found = run.hash_of(path)
        except RefusedError as error:
            yield refused(name, error)
            continue
        if found != hashed:
            yield Fault(name, f"is not what the run wrote (its hash begins with {found[:8]}, not {hashed[:8]})",
                        Remedy.WRITE)
    run.count("hashes", len(written))
    if decisions is None:
        return
    for count in noted.counts:
        decided = decisions.classes.get(count.label)
        rows = 0 if decided is None else decided.rows
        if count.accepted != rows:
            yield Fault(layout.FINISHED, f"says that {count.accepted} of class {count.label!r} were accepted where "
                                         f"{rows} were", Remedy.WRITE)
            return


def read_decisions(run: CheckedRun) -> tuple[Decisions | None, list[Fault]]:
    """The decisions, and what is wrong with their file; None where they cannot be used."""
    path = run.root / layout.DECISIONS
    if not path.is_file():
        return None, [Fault(layout.DECISIONS, "missing", Remedy.WRITE)]
    classes: dict[str, RecordedDecisions] = {}
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            names = tuple(each.name for each in file.schema_arrow.field("scores").type)
            if run.recipe is not None and sorted(names) != sorted(score_names(run.recipe.filter_names)):
                return None, [Fault(layout.DECISIONS, "has scores of other filters than the recipe", Remedy.WRITE)]
            for batch in file.iter_batches(PART):
                what = _add(run, classes, names, batch)
                if what:
                    return None, [Fault(layout.DECISIONS, what, Remedy.WRITE)]
    except (*UNREADABLE, KeyError, AttributeError, TypeError) as error:
        found = unreadable(path, error)
        if isinstance(found, RefusedError):
            return None, [refused(layout.DECISIONS, found)]
        return None, [Fault(layout.DECISIONS, one_line(found), Remedy.WRITE)]
    return Decisions(classes, names), list(_against_blocks(run, classes))


def _add(run: CheckedRun, classes: dict[str, RecordedDecisions], names: tuple[str, ...], batch: pa.RecordBatch) -> str:
    """Take in some rows; returns what is wrong with them, or nothing."""
    kept: dict[str, tuple[list[int], list[list[float]]]] = {}
    reasons = {*NOT_JUDGED, UNREVIEWED, WITHHELD, *names}
    for row in batch.to_pylist():
        decided = classes.setdefault(row["label"], RecordedDecisions())
        place = f"attempt {row['k']} of class {row['label']!r}"
        if row["k"] != decided.attempts or row["id"] != run.identity.attempt(row["label"], row["k"])[0]:
            return f"{place} is not the one that belongs in its place"
        if row["accepted"] is not (row["reason"] is None) or (row["reason"] or NOT_JUDGED[0]) not in reasons:
            return f"{place} has accepted {row['accepted']} and the reason {row['reason']!r}"
        decided.attempts += 1
        decided.judgements.append(1 if row["accepted"] else 0 if row["reason"] in (*NOT_JUDGED, UNREVIEWED) else -1)
        if row["accepted"]:
            ks, scores = kept.setdefault(row["label"], ([], []))
            ks.append(row["k"])
            scores.append([np.nan if row["scores"][name] is None else row["scores"][name] for name in names])
    for label, (ks, scores) in kept.items():
        classes[label].accepted.append(np.array(ks, np.int64))
        classes[label].scores.append(np.array(scores, np.float32).reshape(len(ks), len(names)))
        if run.recipe is not None and classes[label].rows > (most := run.recipe.target.most_rows(label)):
            return f"class {label!r} has more accepted attempts than the recipe's {most}"
    run.count("decisions", len(batch))
    return ""


def _against_blocks(run: CheckedRun, classes: Mapping[str, RecordedDecisions]) -> Iterator[Fault]:
    """Decisions on blocks that are gone, and blocks without decisions."""
    for label, decided in classes.items():
        there = {index for index, _ in run.blocks(label)}
        wanted = -(-decided.attempts // run.block_size)
        last = max(there, default=-1)
        for index in range(last + 1, wanted):
            yield missing_block(run, label, index)
        undecided = [index for index in sorted(there) if index >= wanted]
        if undecided:
            yield Fault(f"blocks/{label}/{undecided[0]:05d}.parquet",
                        f"drawn after {layout.DECISIONS} was written, with {len(undecided) - 1} more of its "
                        "class", Remedy.RUN)


def data_faults(run: CheckedRun, decisions: Decisions, fast: bool) -> Iterator[Fault]:
    """Every shard against what was accepted, row by row; `fast` compares ids only."""
    shards = [path for path in layout.shard_files(run.root)
              if FILE_NAME.fullmatch(path.name.removeprefix("train-"))]
    size = run.recipe.output.rows_per_shard if run.recipe else 0
    expected = _expected(run, decisions, fast)
    left, number, constant = decisions.rows, 0, dict[str, Any]()
    while left > 0:
        path = layout.shard_file(run.root, number)
        count = min(size or left, left)
        rows = islice(expected, count)
        try:
            what = "missing" if not path.is_file() else _wrong_with_shard(path, rows, count, constant, fast)
        except RefusedError as error:
            what = ""
            yield refused(run.relative(path), error)
        if what:
            yield Fault(run.relative(path), what, Remedy.WRITE)
        for _ in rows:  # those that the comparison did not come to
            pass
        run.count("shards", path.is_file())
        run.count("rows", count)
        left, number = left - count, number + 1
    for path in shards[number:]:
        yield Fault(run.relative(path), "holds rows beyond those that were accepted", Remedy.REMOVE)


def _wrong_with_shard(
    path: Path, expected: Iterator[dict[str, Any]], count: int, constant: dict[str, Any], fast: bool
) -> str:
    """What is wrong with a shard, or nothing.

    Raises:
        RefusedError: It may be whole and cannot be read.
    """
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            if file.metadata.num_rows != count:
                return f"holds {file.metadata.num_rows} rows, not {count}"
            if b"huggingface" not in (file.schema_arrow.metadata or {}):
                return "has lost the metadata that make `image` an image"
            place = more = 0
            for batch in file.iter_batches(PART, columns=["id"] if fast else None):
                for row in batch.to_pylist():
                    wanted = next(expected)
                    different = [name for name in wanted if row.get(name) != wanted[name]]
                    different += [name for name in CONSTANT
                                  if row.get(name) != constant.setdefault(name, row.get(name))]
                    if different and _says_more(row, wanted, different):
                        more += 1
                    elif different:
                        return (f"row {place} is not what its block and {layout.DECISIONS} say: {', '.join(different)} "
                                f"of {wanted['id']}")
                    place += 1
    except UNREADABLE as error:
        return one_line(unreadable_content(path, error))
    return f"has {more} rows whose captions or scene say more than the text that was drawn" if more else ""


def _says_more(row: Mapping[str, Any], wanted: Mapping[str, Any], different: Sequence[str]) -> bool:
    """Whether all that is wrong with a row is that it was written before captions and scenes were cut down."""
    if not set(different) <= {"captions", "scene"}:
        return False
    held = what_holds(row)
    return all(held[name] == wanted[name] for name in ("captions", "scene"))


def _expected(run: CheckedRun, decisions: Decisions, fast: bool) -> Iterator[dict[str, Any]]:
    """The rows of the data set in order, as far as known; of a broken block only the ids."""
    return round_robin(
        [_class_rows(run, label, decided, decisions.names, fast) for label, decided in decisions.classes.items()]
    )


def _class_rows(
    run: CheckedRun, label: str, decided: RecordedDecisions, names: tuple[str, ...], fast: bool
) -> Iterator[dict[str, Any]]:
    if not decided.accepted:
        return
    ks, scores = np.concatenate(decided.accepted), np.concatenate(decided.scores)
    for index in np.unique(ks // run.block_size).tolist():
        chosen = ks // run.block_size == index
        stored = None if fast or (label, index) in run.broken else _stored(run, label, index)
        for k, values in zip(ks[chosen].tolist(), scores[chosen], strict=True):
            row = {"id": run.identity.attempt(label, k)[0]}
            if stored is not None:
                row = stored[k - index * run.block_size] | {
                    "scores": {name: None if np.isnan(value) else float(value)
                               for name, value in zip(names, values, strict=True)}
                }
            yield row


def _stored(run: CheckedRun, label: str, index: int) -> list[dict[str, Any]] | None:
    """The rows of a block, or None where it cannot be read a second time: its shard has nothing to do with that."""
    path = layout.block_file(run.root, label, index)
    columns = [name for name in columns_read(run.identity) if name != "k"]
    try:
        with pq.ParquetFile(readable(path)) as file:
            rows = file.read(columns=columns).to_pylist()
        return [with_labels(what_holds(row), row.get(LAYOUT)) for row in rows]
    except UNREADABLE as error:
        run.broken.add((label, index))
        name, found = run.relative(path), unreadable(path, error)
        run.later.append(refused(name, found) if isinstance(found, RefusedError)
                         else Fault(name, one_line(found), Remedy.DRAW))
        return None
