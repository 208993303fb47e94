"""Which split a row goes to, so that no prompt is in two, every class is in all, and growth moves nothing.

Rows are taken in their order. One whose text or scene was seen goes where that went. Any other goes to a split that its
class is short of; which one, its text's hash decides. So a row's split follows from the rows before it. Seldom, a
row has the text of one split and the scene of another. It is left out: no split could have it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from terrasynth.errors import nearest
from terrasynth.prompts.scenes.wording import normalised
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.rows import SPLITS

ALIASES = {"val": "validation", "valid": "validation", "dev": "validation"}


@dataclass(frozen=True)
class LeftOut:
    """A row that is in no split.

    Attributes:
        reason: One of few, to count by.
    """

    reason: str
    detail: str


class SplitRule(Protocol):
    """Decides on synthetic rows; a decision looks only at earlier ones.

    Attributes:
        columns: What it reads of a row.
    """

    columns: ClassVar[Sequence[str]]

    def assign(self, rows: Sequence[Mapping[str, Any]]) -> list[str | LeftOut]:
        """The split of each of the next rows, or why it has none."""


class ByPrompt:
    """Splits by shares of the rows; see the module.

    Args:
        shares: Share of each split; they sum to 1.
        seed: Another seed, other rows in each split.
    """

    columns: ClassVar[Sequence[str]] = ("text", "label", "scene")

    def __init__(self, shares: Mapping[str, float], seed: int) -> None:
        self._names = tuple(shares)
        self._shares = tuple(shares.values())
        self._seed = seed
        self._placed: dict[int, int] = {}  # hash of a text or scene -> place among the names
        self._counts: dict[str, list[int]] = {}

    def assign(self, rows: Sequence[Mapping[str, Any]]) -> list[str | LeftOut]:
        """The split of each of the next rows, or that it would have to be in two."""
        if len(self._names) == 1:
            return [self._names[0]] * len(rows)
        return [self._one(str(row["text"]), str(row["label"]), str(row["scene"])) for row in rows]

    def _one(self, text: str, label: str, scene: str) -> str | LeftOut:
        keys = [_hash("text", normalised(text) or text)]
        if scene != "{}":
            keys.append(_hash("scene", scene))
        seen = {self._placed[key] for key in keys if key in self._placed}
        if len(seen) > 1:
            there = self._names[self._placed[keys[0]]], self._names[self._placed[keys[1]]]
            return LeftOut("prompt in two splits", f"its text is in {there[0]} and its scene in {there[1]}")
        counts = self._counts.setdefault(label, [0] * len(self._names))
        place = seen.pop() if seen else self._draw(counts, text)
        counts[place] += 1
        self._placed.update(dict.fromkeys(keys, place))
        return self._names[place]

    def _draw(self, counts: Sequence[int], text: str) -> int:
        """A split that has fewer rows of the class than its share, by as many as are missing."""
        total = sum(counts) + 1
        missing = [max(share * total - count, 0.0) for share, count in zip(self._shares, counts, strict=True)]
        left = _hash(str(self._seed), text) / 2**64 * sum(missing)
        for place, weight in enumerate(missing):
            if left < weight:
                return place
            left -= weight
        return max(range(len(missing)), key=missing.__getitem__)


def parse_splits(text: str) -> dict[str, float]:
    """Shares by split from "train=0.8,validation=0.1,test=0.1".

    Raises:
        InputError: A split is unknown or named twice, a share is no number above 0, or they do not sum to 1.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        written, _, value = part.partition("=")
        name = ALIASES.get(written.strip(), written.strip())
        if name not in SPLITS:
            raise InputError(f"splits {text!r}: {written.strip()!r} is no split{nearest(name, SPLITS)}; there is "
                             f"{', '.join(SPLITS)}, as in train=0.8,validation=0.1,test=0.1")
        if name in shares:
            raise InputError(f"splits {text!r}: {name} is there twice; name each split once")
        shares[name] = _share(text, name, value)
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise InputError(f"splits {text!r}: the shares sum to {sum(shares.values()):g}; make them sum to 1")
    return {name: shares[name] for name in SPLITS if name in shares}


def _share(text: str, name: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise InputError(f"splits {text!r}: the share {value!r} of {name} is no number above 0 and up to 1; write it "
                         "as in train=0.8")
    return share


def _hash(*parts: str) -> int:
    """64 bits."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")
