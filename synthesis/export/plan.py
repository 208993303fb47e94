"""Which rows an export has, in which split: decided row by row before the first file is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pyarrow as pa

from terrasynth.synthesis.export.reviewed import BASIS, CAPTION, DRAWN_TEXT
from terrasynth.synthesis.export.rows import SPLITS, Row, RunRows, suffix_of
from terrasynth.synthesis.export.splits import LeftOut, SplitRule

SOURCE = "source"
LEFT_OUT = 0  # the code of a row that is in no split; the splits' codes are their places in SPLITS, from 1


class RealSource(Protocol):
    """Real rows that an export has before the synthetic ones."""

    @property
    def names(self) -> Sequence[str]:
        """What the data sets are called."""

    def counts(self) -> Counter[tuple[str, str]]:
        """Rows by (split, class)."""

    def rows(self, split: str | None) -> Iterator[Row]:
        """The rows of a split, or of all, numbered from 0 over all of them."""

    def content(self) -> str:
        """Hash of what is known of the rows without opening their images."""


@dataclass
class Plan:
    """The rows of an export.

    Attributes:
        run: Where the synthetic ones come from.
        real: Where the real ones come from; None for none.
        counts: Rows by (split, class).
        synthetic: Of these, the synthetic ones.
        reasons: How many synthetic rows were left out, by reason.
        by_hand: How many rows have captions of a person who reviewed them.
    """

    run: RunRows
    real: RealSource | None = None
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    synthetic: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    by_hand: int = 0
    _codes: bytearray = field(default_factory=bytearray)

    @classmethod
    def make(
        cls, run: RunRows, rule: SplitRule, left_out: Callable[[Mapping[str, Any], LeftOut], None],
        real: RealSource | None = None,
    ) -> Plan:
        """Decide on every row.

        Args:
            run: Where the synthetic rows come from.
            left_out: Is told of each one that is in no split.
            real: Where the real rows come from; None for none.

        Raises:
            RunError: The run is damaged.
        """
        plan = cls(run, real)
        if real is not None:
            plan.counts.update(real.counts())
        columns = list(dict.fromkeys(["id", "label", "text", *rule.columns]))
        for _, rows in run.batches(columns):
            # Splits go by what was drawn; a guard is told what is said.
            told = [{**row, "captions": run.captions_of(row)} if "captions" in row else row for row in rows]
            for row, decided in zip(rows, rule.assign(told), strict=True):
                if isinstance(decided, LeftOut):
                    plan._codes.append(LEFT_OUT)
                    plan.reasons[decided.reason] += 1
                    left_out(row, decided)
                else:
                    plan._codes.append(1 + SPLITS.index(decided))
                    plan.synthetic[decided, row["label"]] += 1
                    plan.by_hand += run.is_reviewed(row["id"])
        plan.counts.update(plan.synthetic)
        return plan

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that have rows, training first."""
        return tuple(split for split in SPLITS if any(key[0] == split for key in self.counts))

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that have rows, sorted."""
        return tuple(sorted({label for _, label in self.counts}))

    @property
    def has_source(self) -> bool:
        """Whether rows have the column `source`, "real" or "synthetic"."""
        return self.real is not None

    def total(self, split: str | None = None) -> int:
        """Rows of a split, or of all."""
        return sum(count for (name, _), count in self.counts.items() if split in (None, name))

    def schema(self) -> pa.Schema:
        """Of the columns, with the metadata of `datasets`."""
        more = [*([BASIS, DRAWN_TEXT] if self.run.captions else []), *([SOURCE] if self.has_source else [])]
        if not more:
            return self.run.schema
        from datasets import Features, Value

        features = Features.from_arrow_schema(self.run.schema)
        return Features({**features, **{name: Value("string") for name in more}}).arrow_schema

    def rows(self, split: str | None = None) -> Iterator[Row]:
        """The rows of a split, or of all, in order: the real ones, then those of the run; one row group in memory.

        Raises:
            RunError: The run is damaged, or went on meanwhile.
        """
        if self.real is not None:
            for real in self.real.rows(split):
                if self.run.captions:
                    real = replace(real, columns={**real.columns, BASIS: CAPTION, DRAWN_TEXT: None})
                yield real
        before = 0 if self.real is None else sum(self.real.counts().values())
        wanted = bytes(code if split is None or code == 1 + SPLITS.index(split) else 0 for code in range(256))
        codes = bytes(self._codes).translate(wanted)
        earlier = _Rank(bytes(self._codes))
        for start, rows in self.run.batches(None, codes):
            for place, row in enumerate(rows, start):
                if codes[place]:
                    yield self._row(before + earlier.upto(place), SPLITS[codes[place] - 1], row)

    def _row(self, number: int, split: str, columns: dict[str, Any]) -> Row:
        image = columns.pop("image")
        columns = self.run.reviewed(columns)
        if self.has_source:
            columns[SOURCE] = "synthetic"
        return Row(number, split, image["bytes"], suffix_of(image), columns)


class _Rank:
    """How many bytes before a place are not 0; places are asked for in rising order."""

    def __init__(self, codes: bytes) -> None:
        self._codes = codes
        self._place = self._found = 0

    def upto(self, place: int) -> int:
        """Of the first `place` bytes."""
        self._found += place - self._place - self._codes.count(0, self._place, place)
        self._place = place
        return self._found
