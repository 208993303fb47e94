"""Counting texts as they pass: words, word pairs and triples, classes, lengths, and a seeded sample of each class."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import chain
from math import inf

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]

CHUNK = 1 << 15  # texts counted at once: figures do not depend on how many are handed over in a call
KEEP = 2500  # texts kept of each class, for comparisons at equal number and for what is too slow to do to every text
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*")
# Odd constants of the 64-bit golden ratio and of MurmurHash3, so that pairs and triples of word numbers spread evenly.
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))


def split_words(text: str) -> list[str]:
    """Lower-case words and numbers in order; hyphens, underscores and other marks stand between words."""
    return _WORD.findall(text.lower())


class Sums:
    """Sums by 64-bit key, in sorted arrays: 16 bytes a key.

    Attributes:
        keys: uint64 (K,), ascending.
        values: float64 (K,).
    """

    def __init__(self) -> None:
        self.keys: Keys = np.empty(0, np.uint64)
        self.values: Floats = np.empty(0)

    def add(self, keys: Keys, values: Floats | None = None) -> None:
        """Add values (N,), or one each, to the sums of keys (N,), which may repeat."""
        unique, inverse = np.unique(keys, return_inverse=True)
        sums = np.bincount(inverse, values, len(unique)).astype(np.float64)
        places = np.searchsorted(self.keys, unique)
        known = np.zeros(len(unique), bool)
        inside = places < len(self.keys)
        known[inside] = self.keys[places[inside]] == unique[inside]
        self.values[places[known]] += sums[known]
        self.keys = np.insert(self.keys, places[~known], unique[~known])
        self.values = np.insert(self.values, places[~known], sums[~known])


class _Numbers(dict[str, int]):
    """Consecutive numbers for names, in order of first appearance."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number


class Tally:
    """A set of texts, counted in one pass; memory grows with the different words, word triples and texts alone.

    Texts are equal where their words are (see `split_words`). Texts, word pairs and word triples are told apart by
    64-bit hashes: among ten million different ones, any two share a hash with a chance of about three in a million.

    Attributes:
        seed: Decides the samples.
        labels: The classes, in order of first appearance.
        words: The different words, in order of first appearance.
        texts: Hash of the words of a text -> how often it came.
        pairs: Hash of two neighbouring words -> how often they came.
        triples: The same of three.
        commonest: A text that came most often.
    """

    def __init__(self, name: str, seed: int = 0, vocabularies: Mapping[str, frozenset[str]] | None = None) -> None:
        """Start with no text.

        Args:
            seed: Decides the samples.
            vocabularies: Sets of words by name; texts with a word outside of one are counted.
        """
        self.name = name
        self.seed = seed
        self.labels = _Numbers()
        self.words = _Numbers()
        self.texts, self.pairs, self.triples = Sums(), Sums(), Sums()
        self.commonest = ""
        self.vocabularies = dict(vocabularies or {})
        self._touched = dict.fromkeys(self.vocabularies, 0)
        self._outside = {name: np.empty(0, bool) for name in self.vocabularies}
        self._directions = Sums()
        self._word_counts, self._lengths, self._classes, self._spoken = (np.zeros(0, np.int64) for _ in range(4))
        self._draws = np.random.Generator(np.random.PCG64(seed))
        self._kept: list[list[tuple[float, int, str]]] = []
        self._bounds: Floats = np.empty(0)
        self._n = 0
        self._waiting: list[tuple[str, str]] = []

    def add(self, texts: Iterable[tuple[str, str]]) -> None:
        """Count further texts, each given as class ("" for none) and text."""
        self._waiting.extend(texts)
        while len(self._waiting) >= CHUNK:
            self._count(self._waiting[:CHUNK])
            del self._waiting[:CHUNK]

    def finish(self) -> Tally:
        """Count what waits for a full chunk; to be called before reading, and again after adding more."""
        if self._waiting:
            self._count(self._waiting)
            self._waiting = []
        return self

    @property
    def n(self) -> int:
        """Texts counted."""
        return self._n

    @property
    def classes(self) -> dict[str, int]:
        """Texts by class."""
        return dict(zip(self.labels, self._classes.tolist(), strict=True))

    @property
    def lengths(self) -> Ints:
        """int64 (longest + 1,): how many texts have so many words."""
        return self._lengths

    @property
    def word_counts(self) -> Ints:
        """int64 (words,): how often each of `words` came."""
        return self._word_counts

    @property
    def touched(self) -> dict[str, int]:
        """Vocabulary -> texts with a word outside of it."""
        return dict(self._touched)

    @property
    def directions(self) -> tuple[Ints, Ints, Floats, Ints]:
        """Sums of the texts' unit vectors by class: class (P,), word (P,), value (P,), and texts with words (classes,).

        A text's vector is 1 at each of its words, however often they come, scaled to length 1.
        """
        keys = self._directions.keys
        classes, words = (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(2**32 - 1)).astype(np.int64)
        return classes, words, self._directions.values, self._spoken

    def kept(self, label: str) -> list[str]:
        """Up to `KEEP` texts of a class, drawn at random without putting back; each beginning of it is a draw too."""
        if label not in self.labels:
            return []
        return [text for _, _, text in sorted(self._kept[self.labels[label]], reverse=True)]

    def draw(self, count: int) -> list[tuple[str, str]]:
        """Class and text of about `count` texts at random, from each class in proportion, as far as they were kept."""
        return list(self._drawn({label: -(-count * n // max(1, self.n)) for label, n in self.classes.items()}))

    def draw_classes(self, counts: Mapping[str, int]) -> list[tuple[str, str]]:
        """Class and text of so many texts of each class at random, as far as they were kept."""
        return list(self._drawn(counts))

    def _drawn(self, counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        for label, count in counts.items():
            for text in self.kept(label)[:count]:
                yield label, text

    def _count(self, chunk: list[tuple[str, str]]) -> None:
        said = [split_words(text) for _, text in chunk]
        ids = np.fromiter(map(self.words.__getitem__, chain.from_iterable(said)), np.int64)
        lengths = np.fromiter(map(len, said), np.int64, len(said))
        rows = np.repeat(np.arange(len(said)), lengths)
        labels = np.fromiter((self.labels[label] for label, _ in chunk), np.int64, len(chunk))
        self._word_counts = _added(self._word_counts, ids, len(self.words))
        self._lengths = _added(self._lengths, lengths, int(lengths.max()) + 1)
        self._classes = _added(self._classes, labels, len(self.labels))
        self._spoken = _added(self._spoken, labels[lengths > 0], len(self.labels))
        self._count_texts(chunk, said)
        self._count_neighbours(ids, rows)
        self._count_directions(ids, rows, labels)
        self._count_outside(ids, rows)
        self._keep(chunk, labels)
        self._n += len(chunk)

    def _count_texts(self, chunk: list[tuple[str, str]], said: list[list[str]]) -> None:
        digests = b"".join(blake2b(" ".join(one).encode("utf-8", "replace"), digest_size=8).digest() for one in said)
        hashes = np.frombuffer(digests, "<u8").astype(np.uint64)
        self.texts.add(hashes)
        # What ends up the commonest is so already in the last chunk that holds it, so its words are at hand there.
        found = np.flatnonzero(hashes == self.texts.keys[np.argmax(self.texts.values)])
        if len(found):
            self.commonest = chunk[found[0]][1]

    def _count_neighbours(self, ids: Ints, rows: Ints) -> None:
        numbers = ids.astype(np.uint64) + np.uint64(1)
        same = rows[1:] == rows[:-1]
        pairs = _spread(numbers[:-1] * _MIX[0] + numbers[1:] * _MIX[1])
        self.pairs.add(pairs[same])
        self.triples.add(_spread(pairs[:-1] * _MIX[0] + numbers[2:] * _MIX[2])[same[1:] & same[:-1]])

    def _count_directions(self, ids: Ints, rows: Ints, labels: Ints) -> None:
        entries = np.unique(rows.astype(np.uint64) << np.uint64(32) | ids.astype(np.uint64))
        row, word = (entries >> np.uint64(32)).astype(np.int64), entries & np.uint64(2**32 - 1)
        different = np.bincount(row, minlength=len(labels))
        keys = labels[row].astype(np.uint64) << np.uint64(32) | word
        self._directions.add(keys, 1 / np.sqrt(different[row]))

    def _count_outside(self, ids: Ints, rows: Ints) -> None:
        for name, vocabulary in self.vocabularies.items():
            flags = self._outside[name]
            fresh = list(self.words)[len(flags):]
            flags = np.concatenate([flags, np.fromiter((word not in vocabulary for word in fresh), bool, len(fresh))])
            self._outside[name] = flags
            self._touched[name] += len(np.unique(rows[flags[ids]]))

    def _keep(self, chunk: list[tuple[str, str]], labels: Ints) -> None:
        new = len(self.labels) - len(self._kept)
        self._kept.extend([] for _ in range(new))
        self._bounds = np.concatenate([self._bounds, np.full(new, inf)])
        draws = self._draws.random(len(chunk))
        for place in np.flatnonzero(draws < self._bounds[labels]).tolist():
            heap = self._kept[labels[place]]
            # a heap's first is its smallest, and the largest draw is the one to go
            entry = (-float(draws[place]), -(self._n + place), chunk[place][1])
            if len(heap) < KEEP:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
            if len(heap) == KEEP:
                self._bounds[labels[place]] = -heap[0][0]


def _added(counts: Ints, numbers: Ints, size: int) -> Ints:
    found = np.bincount(numbers, minlength=max(size, len(counts)))
    found[: len(counts)] += counts
    return found


def _spread(hashes: Keys) -> Keys:
    mixed = (hashes ^ (hashes >> np.uint64(33))) * _MIX[1]
    return mixed ^ (mixed >> np.uint64(33))
