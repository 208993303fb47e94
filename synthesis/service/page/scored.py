"""The scores of one filter over a run, for what another threshold would change."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from terrasynth.synthesis.service.row_tables import CLASS_STEP, Verdict, score_column


class Scored(NamedTuple):
    """A row that a filter was asked about.

    Attributes:
        score: What the filter gave it.
    """

    label: str
    verdict: Verdict
    score: float


def scores(connection: sqlite3.Connection, name: str) -> list[Scored]:
    """All rows that a filter was asked about and that were decided on, the lowest score first.

    Args:
        name: Of the filter.
    """
    labels = dict(connection.execute("SELECT number, name FROM labels"))
    number = connection.execute("SELECT number FROM filters WHERE name = ?", (name,)).fetchone()
    if number is None:
        return []
    column = score_column(number[0])
    found = connection.execute(
        f"SELECT place / ?, verdict, {column} FROM rows WHERE {column} IS NOT NULL AND verdict IN (?, ?) "
        f"ORDER BY {column}, place", (CLASS_STEP, Verdict.ACCEPTED, Verdict.REJECTED))
    return [Scored(labels[label], Verdict(verdict), score) for label, verdict, score in found]
