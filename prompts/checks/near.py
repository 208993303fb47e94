"""Texts that were there already: equal ones by a hash, near ones by MinHash and locality-sensitive hashing."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection
from hashlib import blake2b
from typing import Any

from terrasynth.errors import not_installed
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.wording import normalised, words

SHINGLE = 3  # words
BANDS = 16
RECALL = 0.99
MOST_ROWS = 8
SEED = 1


class TextSet:
    """Texts of equal wording are equal here; about 20 bytes a text.

    The set holds 64-bit hashes, by which two of a million different texts are mistaken for equal with a probability of
    3 in 100 million.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 64))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, text: str) -> bool:
        return self._table[self._place(_hash(normalised(text)))] != 0

    def add(self, text: str) -> bool:
        """Put a text in; returns whether it is new."""
        hashed = _hash(normalised(text))
        place = self._place(hashed)
        if self._table[place]:
            return False
        self._table[place] = hashed
        self._size += 1
        if 3 * self._size > 2 * len(self._table):
            held = [each for each in self._table if each]
            self._table = array("Q", bytes(8 * 2 * len(self._table)))
            for each in held:
                self._table[self._place(each)] = each
        return True

    def _place(self, hashed: int) -> int:
        """Where a hash is, or where there is room for it (open addressing, linear probing)."""
        table, mask = self._table, len(self._table) - 1
        place = hashed & mask
        while table[place] and table[place] != hashed:
            place = place + 1 & mask
        return place


class NearIndex:
    """Texts of which a near one can be asked: Jaccard similarity of the sets of their 3-word shingles.

    Candidates come from MinHash signatures in 16 bands (Broder, "On the resemblance and containment of documents",
    1997; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3), and their exact similarity decides:
    none is taken for near that is not, and of those at the threshold 99 % or more are found. About 5 kB a text.
    """

    def __init__(self, threshold: float) -> None:
        """Make an empty index.

        Args:
            threshold: Similarity from which on texts are near, over 0 to 1.

        Raises:
            InputError: The package `datasketch` is missing.
        """
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError as error:
            raise InputError(not_installed("a search for near texts", "datasketch", "near")) from error

        self._threshold = threshold
        self._rows = _rows(threshold)
        size = BANDS * self._rows
        self._empty = MinHash(num_perm=size, seed=SEED, scheme="affine32", hashfunc=_low)
        self._bands = MinHashLSH(num_perm=size, params=(BANDS, self._rows))
        self._shingles = array("Q")
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def near(self, text: str) -> bool:
        """Whether the index holds a text as similar as the threshold."""
        own = shingles(text)
        return self._any_near(own, self._signature(own))

    def add(self, text: str) -> bool:
        """Put a text in if no near one is there; returns whether it was put in."""
        own = shingles(text)
        signature = self._signature(own)
        if self._any_near(own, signature):
            return False
        self._bands.insert(len(self), signature, check_duplication=False)
        self._shingles.extend(sorted(own))
        self._ends.append(len(self._shingles))
        return True

    def _any_near(self, own: frozenset[int], signature: Any) -> bool:  # noqa: ANN401 - datasketch is untyped
        for key in self._bands.query(signature):
            other = self._shingles[self._ends[key] : self._ends[key + 1]]
            shared = len(own.intersection(other))
            if shared >= self._threshold * (len(own) + len(other) - shared):
                return True
        return False

    def _signature(self, own: Collection[int]) -> Any:  # noqa: ANN401 - datasketch is untyped
        signature = self._empty.copy()
        signature.update_batch(own)
        return signature


def shingles(text: str) -> frozenset[int]:
    """64-bit hashes of the runs of three words of a text; a shorter text is one run."""
    said = words(text)
    return frozenset(_hash(" ".join(said[i : i + SHINGLE])) for i in range(max(1, len(said) - SHINGLE + 1)))


def _rows(threshold: float) -> int:
    """Most rows of a band with which a pair at the threshold is found in `RECALL` of all cases.

    A band finds it with t^r, so one of b bands with 1 - (1 - t^r)^b.
    """
    band = 1 - (1 - RECALL) ** (1 / BANDS)
    return MOST_ROWS if threshold >= 1 else min(MOST_ROWS, max(1, math.floor(math.log(band) / math.log(threshold))))


def _hash(text: str) -> int:
    """64 bits that are never all zero."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def _low(shingle: int) -> int:
    return shingle & 0xFFFFFFFF
