"""The tables of an index of rows, and how decisions are read into them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import pyarrow.parquet as pq
from pydantic import PlainSerializer, WithJsonSchema

from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.ledger.block_files import UNREADABLE, unreadable_file
from terrasynth.synthesis.ledger.decisions import NOT_JUDGED, UNREVIEWED

CLASS_STEP = 2**32  # places of a class; a run has at most 10**9 attempts of one
BATCH = 5_000
PATIENCE = 30
_TABLES = """
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, changed INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS reasons (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS filters (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS blocks (
  label INTEGER, number INTEGER, texts INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (label, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blocks_unread ON blocks (label, number) WHERE texts = 0;
CREATE TABLE IF NOT EXISTS rows (
  place INTEGER PRIMARY KEY, id TEXT NOT NULL, verdict INTEGER NOT NULL DEFAULT 0, reason INTEGER, text TEXT,
  arrival INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS rows_id ON rows (id);
CREATE INDEX IF NOT EXISTS rows_verdict ON rows (verdict, place);
CREATE INDEX IF NOT EXISTS rows_reason ON rows (reason, place);
CREATE INDEX IF NOT EXISTS rows_arrival ON rows (arrival);
"""
VerdictName = Literal["accepted", "rejected", "unjudged", "pending"]


class Verdict(IntEnum):
    """What became of an attempt, as far as files say."""

    PENDING = 0
    ACCEPTED = 1
    REJECTED = 2
    UNJUDGED = 3

    @classmethod
    def of(cls, reason: str | None) -> Verdict:
        """The verdict behind the reason of a decision, which is None for accepted."""
        if reason is None:
            return cls.ACCEPTED
        if reason == UNREVIEWED:  # which waits for a person
            return cls.PENDING
        return cls.UNJUDGED if reason in NOT_JUDGED else cls.REJECTED

    @property
    def word(self) -> VerdictName:
        """The verdict as it is sent."""
        return cast(VerdictName, self.name.lower())


SentVerdict = Annotated[Verdict, PlainSerializer(lambda verdict: verdict.word),
                        WithJsonSchema({"type": "string", "enum": list(get_args(VerdictName))})]
"""A verdict in an answer."""


class Names:
    """Names in a table, by number.

    Args:
        table: "reasons" or "filters".
    """

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._connection, self._table = connection, table
        self._known: dict[str, int] = dict(connection.execute(f"SELECT name, number FROM {table}"))

    def number(self, name: str | None) -> int | None:
        """The number of a name, which it gets where it has none; None for None."""
        if name is None:
            return None
        if name not in self._known:
            self._known[name] = len(self._known)
            self._connection.execute(f"INSERT INTO {self._table} VALUES (?, ?)", (self._known[name], name))
        return self._known[name]

    def __contains__(self, name: str) -> bool:
        return name in self._known


@contextmanager
def writing(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection for changes, of an index that is made where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(sqlite3.connect(file, timeout=PATIENCE)) as connection:
        # What is lost by a power cut is made again, but what is half there is not known to be: hence a log.
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _TABLES)
        yield connection


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection for questions, which all see one state."""
    with closing(sqlite3.connect(file, timeout=PATIENCE)) as connection:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("BEGIN")
        yield connection


def clear(connection: sqlite3.Connection) -> None:
    """Forget everything."""
    for table in ("notes", "labels", "reasons", "filters", "blocks", "rows"):
        connection.execute(f"DELETE FROM {table}")


def drop_rows(connection: sqlite3.Connection, label: int, start: int, count: int) -> None:
    """Forget `count` attempts of a class from attempt `start` on."""
    first = label * CLASS_STEP + start
    connection.execute("DELETE FROM rows WHERE place BETWEEN ? AND ?", (first, first + count - 1))


def score_column(number: int) -> str:
    """The column with the scores of the filter of a number."""
    return f"score_{number}"


@dataclass(frozen=True)
class DecisionBatch:
    """Decisions, a list for each column.

    Attributes:
        label: Classes.
        k: Places in their classes.
        reason: Why each is not in the data set; None for accepted.
        scores: By filter, of those that have any here.
    """

    label: Sequence[str]
    k: Sequence[int]
    reason: Sequence[str | None]
    scores: Mapping[str, Sequence[float | None]]


def decision_batches(path: Path) -> Iterator[DecisionBatch]:
    """The decisions of a run, some thousands at a time.

    Raises:
        RunError: The file is damaged.
        RefusedError: It may be whole and cannot be read.
    """
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH, columns=["label", "k", "reason", "scores"], use_threads=False):
                scores = batch.column("scores")
                named = {field.name: scores.field(field.name) for field in scores.type}
                yield DecisionBatch(
                    batch.column("label").to_pylist(), batch.column("k").to_pylist(),
                    batch.column("reason").to_pylist(),
                    {name: values.to_pylist() for name, values in named.items() if values.null_count < len(values)},
                )
    except UNREADABLE as error:
        raise unreadable_file(path, error, "; run it again with --repair", f"{path.name} of the data set") from error


def note_decisions(connection: sqlite3.Connection, path: Path) -> None:
    """Put the verdicts and scores of all rows as a run decided."""
    labels = dict(connection.execute("SELECT name, number FROM labels"))
    filters, reasons = Names(connection, "filters"), Names(connection, "reasons")
    columns = [score_column(number) for number, in connection.execute("SELECT number FROM filters")]
    emptied = "".join(f", {column} = NULL" for column in columns)
    connection.execute(f"UPDATE rows SET verdict = 0, reason = NULL{emptied} WHERE verdict != 0 OR reason IS NOT NULL")
    for batch in decision_batches(path):
        places = [_column_of(connection, filters, name) for name in batch.scores]
        assigned = "".join(f", {place} = ?" for place in places)
        rows = zip(batch.label, batch.k, batch.reason, *batch.scores.values(), strict=True)
        connection.executemany(
            f"UPDATE rows SET verdict = ?, reason = ?{assigned} WHERE place = ?",
            [(Verdict.of(reason), reasons.number(reason), *scores, labels[label] * CLASS_STEP + k)
             for label, k, reason, *scores in rows if label in labels])


def _column_of(connection: sqlite3.Connection, filters: Names, name: str) -> str:
    new = name not in filters
    column = score_column(filters.number(name) or 0)
    if new and column not in {row[1] for row in connection.execute("PRAGMA table_info(rows)")}:
        connection.execute(f"ALTER TABLE rows ADD COLUMN {column} REAL")
        connection.execute(f"CREATE INDEX rows_{column} ON rows ({column}, place) WHERE {column} IS NOT NULL")
    return column
