"""Which synthetic rows join real ones: none that gives the real test split away, and no more of a class than asked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode_all
from terrasynth.synthesis.export.guard import TestGuard
from terrasynth.synthesis.export.real import RealRows
from terrasynth.synthesis.export.rows import UNSPLIT
from terrasynth.synthesis.export.splits import LeftOut


class MergeRule:
    """Synthetic rows go to the training split, in their order, up to a number for each class.

    Attributes:
        guard: The real test split; None where there is none.
    """

    columns: ClassVar[Sequence[str]] = ("label", "captions", "image")

    def __init__(self, real: RealRows, ratio: float | None, guard: TestGuard | None) -> None:
        """Count the real rows.

        Args:
            ratio: Synthetic rows for each real training row of the class; None for all there are.
            guard: The real test split; None where there is none.
        """
        self._ratio = ratio
        self.guard = guard
        self._real = Counter(pair.label for pair in real.pairs if pair.split == "train")
        self._taken: Counter[str] = Counter()

    def assign(self, rows: Sequence[Mapping[str, Any]]) -> list[str | LeftOut]:
        """The training split for each of the next rows, or why it must not be there."""
        return [self._quota(str(row["label"])) if refused is None else refused
                for row, refused in zip(rows, self._refused(rows), strict=True)]

    def wanted(self) -> dict[str, int]:
        """Synthetic rows that the ratio asks for, by class; empty where it asks for all."""
        return {} if self._ratio is None else {label: self._limit(label) for label in sorted(self._real)}

    def _refused(self, rows: Sequence[Mapping[str, Any]]) -> list[LeftOut | None]:
        if self.guard is None:
            return [None] * len(rows)
        found = [self.guard.met(row["captions"]) for row in rows]
        others = [place for place, refused in enumerate(found) if refused is None]
        if others:
            near = self.guard.near(decode_all(rows[place]["image"]["bytes"] for place in others))
            for place, refused in zip(others, near, strict=True):
                found[place] = refused
        return found

    def _quota(self, label: str) -> str | LeftOut:
        if self._ratio is not None and self._taken[label] >= self._limit(label):
            return LeftOut("beyond the ratio", f"{self._ratio:g} for each of {self._real[label]} real training rows of "
                                               f"{label!r}")
        self._taken[label] += 1
        return UNSPLIT

    def _limit(self, label: str) -> int:
        return math.floor((self._ratio or 0.0) * self._real[label] + 1e-9)


def parse_ratio(text: str | None) -> float | None:
    """Synthetic rows for each real one, from "synthetic=1.0"; None for all.

    Raises:
        InputError: It is no number from 0.
    """
    if text is None:
        return None
    name, _, value = text.rpartition("=")
    try:
        ratio = float(value)
    except ValueError:
        ratio = math.nan
    if name not in ("", "synthetic") or not 0 <= ratio < math.inf:
        raise InputError(f"ratio {text!r} is no number of synthetic rows for each real one; write synthetic=1.0")
    return ratio
