"""Random choices that depend on a key alone: the same in every process, on every platform and Python version."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

Item = TypeVar("Item")
_RANGE = 2**32


class Draws:
    """A stream of random numbers from BLAKE2b of a key and a block counter (counter mode, so no state to seed)."""

    def __init__(self, *key: object) -> None:
        self._key = "\x1f".join(map(str, key)).encode()
        self._block = 0
        self._words: list[int] = []

    def below(self, bound: int) -> int:
        """An integer from 0 to `bound` - 1; the bias is under `bound` / 2**32."""
        if not self._words:
            digest = hashlib.blake2b(self._key + b"\x1f%d" % self._block).digest()
            self._words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4)]
            self._block += 1
        return self._words.pop() * bound // _RANGE

    def chance(self, probability: float) -> bool:
        """True with this probability, resolved to one in a million."""
        return self.below(1_000_000) < round(probability * 1_000_000)

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items, all equally likely."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """A random order of the items (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


class Choice(Generic[Item]):
    """A choice among items with whole-number weights."""

    def __init__(self, items: Sequence[Item], weights: Sequence[int]) -> None:
        if not items or len(items) != len(weights) or min(weights) < 1:
            raise ValueError(f"choice {list(items)!r} needs one weight of 1 or more an item, not {list(weights)!r}")
        self.items = tuple(items)
        self._bounds = list(accumulate(weights))

    def draw(self, draws: Draws) -> Item:
        """One of the items, in proportion to the weights."""
        if len(self.items) == 1:
            return self.items[0]
        return self.items[bisect_right(self._bounds, draws.below(self._bounds[-1]))]
