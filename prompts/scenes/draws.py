"""Random choices that depend on a key alone: the same in every process, on every platform and Python version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
_RANGE = 2**32
_PHILOX_WORDS = 8  # of 32 bits, a step of its counter


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


def random_words(key: Sequence[object], start: int, count: int, width: int) -> NDArray[np.uint64]:
    """The first `width` random 32-bit words of each of many attempts, all at once.

    Philox 4x64 (Salmon et al., SC 2011) is keyed by BLAKE2b of `key`, and its counter is the attempt's number: any
    attempt's words can be had without those before it.

    Args:
        start: First attempt, 0 or more.
        width: Words of each.

    Returns:
        uint64 (count, width), values below 2**32.
    """
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).digest()
    blocks = -(-width // _PHILOX_WORDS)
    philox = np.random.Philox(key=int.from_bytes(digest, "little"), counter=start * blocks)
    raw = philox.random_raw(count * blocks * _PHILOX_WORDS // 2).astype("<u8").view("<u4")
    return raw.reshape(count, blocks * _PHILOX_WORDS)[:, :width].astype(np.uint64)


class Choice(Generic[Item]):
    """A choice among items with whole-number weights."""

    def __init__(self, items: Sequence[Item], weights: Sequence[int]) -> None:
        if not items or len(items) != len(weights) or min(weights) < 1:
            raise ValueError(f"choice {list(items)!r} needs one weight of 1 or more an item, not {list(weights)!r}")
        self.items = tuple(items)
        self._table = np.repeat(np.arange(len(items)), weights)  # faster to read than bounds are to search

    def __len__(self) -> int:
        return len(self.items)

    def indices(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Which item each random word draws, in proportion to the weights; the bias is under 2**-32 of their sum."""
        found: NDArray[np.int64] = self._table[below(words, len(self._table))]
        return found


def below(words: NDArray[np.uint64], bound: int) -> NDArray[np.int64]:
    """Integers from 0 to `bound` - 1, one for each random 32-bit word."""
    return (words * np.uint64(bound) >> np.uint64(32)).astype(np.int64)
