"""Questions about the rows of a run, asked of its index: pages by filter, one row, and how many there are."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from terrasynth.errors import nearest
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.row_tables import CLASS_STEP, SentVerdict, Verdict, score_column

MOST_ROWS = 500
Order = Literal["class", "newest", "score"]


@dataclass(frozen=True)
class RowQuery:
    """Which rows are wanted.

    Attributes:
        label: Only rows of this class.
        verdict: Only rows with this verdict.
        reason: Only rows that were rejected for this reason, such as the name of a filter.
        text: Only rows whose text has this in it; case does not count.
        filter: Name of a filter, which `least`, `most` and the order "score" speak of.
        least: Lowest score.
        most: Highest score.
        order: "class": by class and attempt; "newest": the last that were drawn first; "score": the lowest first.
        after: The `next` of the page before; None for the first page.
    """

    label: str | None = None
    verdict: Verdict | None = None
    reason: str | None = None
    text: str | None = None
    filter: str | None = None
    least: float | None = None
    most: float | None = None
    order: Order = "class"
    after: str | None = None
    limit: int = 100


@dataclass(frozen=True)
class Row:
    """An attempt.

    Attributes:
        id: Names it, its image and its provenance.
        label: Its class.
        k: Its place in its class.
        verdict: "accepted": in the data set; "rejected": by a filter, or withheld; "unjudged": not needed; "pending":
            its run has not decided yet, or waits for a person.
        reason: The filter that rejected it, or why it was not judged; null for accepted and for pending.
        text: What it was drawn from; null where that was not read yet.
        scores: By filter, of those that were asked.
    """

    id: Annotated[str, Field(examples=["0f1e2d3c4b5a6978"])]
    label: Annotated[str, Field(examples=["beach"])]
    k: Annotated[int, Field(examples=[0])]
    verdict: SentVerdict
    reason: Annotated[str | None, Field(examples=["alignment"])]
    text: Annotated[str | None, Field(examples=["A beach beside a calm sea."])]
    scores: Annotated[Mapping[str, float], Field(examples=[{"alignment": 0.31}])]


@dataclass(frozen=True)
class RowPage:
    """Some rows.

    Attributes:
        rows: At most as many as were asked for.
        next: What `after` has to be for the next page; None where this is the last.
    """

    rows: tuple[Row, ...]
    next: str | None


@dataclass(frozen=True)
class Count:
    """How many rows of a class came to one end.

    Attributes:
        label: The class.
        verdict: As of a row.
        reason: As of a row.
        rows: How many.
    """

    label: str
    verdict: SentVerdict
    reason: str | None
    rows: int


@dataclass(frozen=True)
class Histogram:
    """Scores of a filter.

    Attributes:
        low: The lowest, where the first bin begins.
        high: The highest, where the last bin ends.
        rows: How many rows lie in each bin, by class and verdict; bins without rows are left out.
    """

    low: float
    high: float
    rows: Mapping[tuple[str, Verdict], Mapping[int, int]]


class _Tables:
    """Names and numbers of an index."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.labels = dict(connection.execute("SELECT number, name FROM labels"))
        self.reasons = dict(connection.execute("SELECT number, name FROM reasons"))
        self.filters = dict(connection.execute("SELECT number, name FROM filters"))
        scores = "".join(f", {score_column(number)}" for number in self.filters)
        self.columns = f"id, place, verdict, reason, text{scores}"

    def row(self, found: tuple[object, ...]) -> Row:
        id_, place, verdict, reason, text, *scores = found
        number, k = divmod(int(str(place)), CLASS_STEP)
        named = zip(self.filters.values(), scores, strict=True)
        return Row(
            str(id_), self.labels[number], k, Verdict(int(str(verdict))),
            None if reason is None else self.reasons[int(str(reason))], None if text is None else str(text),
            {name: float(str(score)) for name, score in named if score is not None},
        )


def page(connection: sqlite3.Connection, query: RowQuery) -> RowPage:
    """One page of rows.

    Raises:
        InputError: A class, a reason or a filter does not exist, or `after` is none of this order.
    """
    tables = _Tables(connection)
    wheres, values = _conditions(tables, query)
    keys, sign, direction = ["place"], ">", ""
    if query.order == "newest":
        keys, sign, direction = ["arrival"], "<", "DESC"
    elif query.order == "score":
        keys = [_column(tables, query.filter), "place"]
        wheres.append(f"{keys[0]} IS NOT NULL")
    if query.after is not None:
        wheres.append(f"({', '.join(keys)}) {sign} ({', '.join('?' * len(keys))})")
        values += _cursor(query.after, query.order, len(keys))
    where = f"WHERE {' AND '.join(wheres)}" if wheres else ""
    asked = (f"SELECT {', '.join(keys)}, {tables.columns} FROM rows {where} "
             f"ORDER BY {', '.join(keys)} {direction} LIMIT ?")
    found = connection.execute(asked, (*values, query.limit + 1)).fetchall()
    shown = found[:query.limit]
    after = ":".join((query.order, *map(repr, shown[-1][:len(keys)]))) if len(found) > query.limit else None
    return RowPage(tuple(tables.row(row[len(keys):]) for row in shown), after)


def one(connection: sqlite3.Connection, row: str) -> Row | None:
    """The row of an id; None where there is none."""
    tables = _Tables(connection)
    found = connection.execute(f"SELECT {tables.columns} FROM rows WHERE id = ?", (row,)).fetchone()
    return None if found is None else tables.row(found)


def counts(connection: sqlite3.Connection) -> list[Count]:
    """How many rows came to which end, by class; reads the whole index, and is for callers that keep it."""
    tables = _Tables(connection)
    found = connection.execute("SELECT place / ?, verdict, reason, count(*) FROM rows GROUP BY 1, 2, 3 "
                               "ORDER BY 1, 2, 3", (CLASS_STEP,))
    return [Count(tables.labels[number], Verdict(verdict), tables.reasons.get(reason), rows)
            for number, verdict, reason, rows in found]


def histogram(connection: sqlite3.Connection, name: str, bins: int) -> Histogram:
    """The scores of a filter over the rows that it was asked about; reads all of them.

    Args:
        bins: How many, of equal width from the lowest score to the highest.

    Raises:
        InputError: There is no such filter.
    """
    tables = _Tables(connection)
    column = _column(tables, name)
    low, high = connection.execute(f"SELECT min({column}), max({column}) FROM rows WHERE {column} IS NOT NULL"
                                   ).fetchone()
    if low is None:
        return Histogram(0.0, 0.0, {})
    width = (high - low) / bins or 1.0
    found = connection.execute(
        f"SELECT place / ?, verdict, min(?, CAST(({column} - ?) / ? AS INTEGER)), count(*) FROM rows "
        f"WHERE {column} IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3", (CLASS_STEP, bins - 1, low, width))
    rows: dict[tuple[str, Verdict], dict[int, int]] = {}
    for number, verdict, place, count in found:
        rows.setdefault((tables.labels[number], Verdict(verdict)), {})[place] = count
    return Histogram(low, high, rows)


def _conditions(tables: _Tables, query: RowQuery) -> tuple[list[str], list[object]]:
    """What has to be true of a row. A sign `+` keeps SQLite from an index that would have to be sorted afterwards."""
    free = "" if query.order == "class" else "+"
    wheres: list[str] = []
    values: list[object] = []
    if query.label is not None:
        first = _number(tables.labels, query.label, "class") * CLASS_STEP
        wheres.append(f"{free}place BETWEEN ? AND ?")
        values += [first, first + CLASS_STEP - 1]
    if query.verdict is not None:
        wheres.append(f"{free}verdict = ?")
        values.append(int(query.verdict))
    if query.reason is not None:
        wheres.append(f"{free}reason = ?")
        values.append(_number(tables.reasons, query.reason, "reason"))
    if query.text is not None:
        wheres.append(r"text LIKE ? ESCAPE '\'")
        escaped = query.text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
        values.append(f"%{escaped}%")
    for sign, limit in ((">=", query.least), ("<=", query.most)):
        if limit is not None:
            by = "" if query.order == "score" else "+"
            wheres.append(f"{by}{_column(tables, query.filter)} {sign} ?")
            values.append(limit)
    return wheres, values


def _column(tables: _Tables, name: str | None) -> str:
    if name is None:
        raise InputError("scores are asked for, and no filter is named; give filter")
    return score_column(_number(tables.filters, name, "filter"))


def _number(known: Mapping[int, str], name: str, kind: str) -> int:
    for number, each in known.items():
        if each == name:
            return number
    names = ", ".join(sorted(known.values())) or "none"
    raise InputError(f"{kind} {name!r} does not exist{nearest(name, known.values())}; there is {names}")


def _cursor(after: str, order: str, count: int) -> list[float]:
    begin, *parts = after.split(":")
    try:
        numbers = [float(part) if "." in part or "e" in part else int(part) for part in parts]
    except ValueError:
        numbers = []
    if begin != order or len(numbers) != count or not all(abs(number) < 2**62 for number in numbers):
        raise InputError(f"after {after[:80]!r} is no `next` of a page in this order; leave it out for the first page")
    return numbers
