"""Figures of a set of texts: how many are different, how far apart they are, which words they use, how long they are.

Shares of distinct texts and n-grams fall with the number of texts, so sets of different size are compared at equal
number by `eval.prompt_sets.comparison`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.prompt_sets.tally import Floats, Ints, Tally

TOP_WORDS = 20
MEASURED = 10_000  # texts whose tokens are counted: a tokenizer takes longer than everything else together
STEPS_A_DECADE = 8

DEFINITIONS = {
    "distinct": "texts that differ in their words; case, hyphens and punctuation do not count",
    "distinct-1, -2, -3": "different words, pairs and triples of neighbouring words over all of them within texts, as "
    "in Li et al., NAACL 2016 (there the denominator is the number of words for all three)",
    "distance": "1 - cosine of the texts' binary word vectors (1 at each word of the text), mean over all pairs of "
    "texts, exactly and not on a sample; 0: all texts have the same words, 1: no two share a word",
    "distance within classes": "the same over pairs of one class, then the mean over the classes",
    "entropy": "of the words by frequency, in bits; 2 to its power is the effective number of words",
    "balance": "entropy of the classes over its largest value, log(classes); 1: all classes equally often",
    "growth": "expected number of distinct texts among n of the set drawn at random without putting back (rarefaction, "
    "Hurlbert, Ecology 52, 1971, equation 3), which does not depend on the order of the set",
}


@dataclass(frozen=True)
class Lengths:
    """How long texts are.

    Attributes:
        median: The smallest length that half of the texts do not exceed.
        percentile_95: The smallest length that 95 % of the texts do not exceed.
        counts: Texts of length 0, 1, 2, ...
        limit: The longest length that a generator reads whole, if one is known.
        above: Share of the texts that are longer than the limit.
    """

    n: int
    mean: float
    median: int
    percentile_95: int
    longest: int
    counts: tuple[int, ...] = field(repr=False)
    limit: int | None = None
    above: float | None = None


@dataclass(frozen=True)
class Outside:
    """Words that a vocabulary does not have.

    Attributes:
        share: Share of the texts that have such a word.
        words: Those words with how often they come, the commonest first.
    """

    share: float
    words: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Figures:
    """What is measured of a set of texts; see `DEFINITIONS`.

    Attributes:
        name: Of the set.
        distinct: Different texts.
        distinct_1: Different words over all words; None where there is none.
        distinct_2: The same of pairs of neighbouring words.
        distinct_3: The same of triples.
        distance: Mean distance of two texts; None where there are less than two.
        distance_within: Mean over classes of the mean distance of two texts of the class.
        entropy: Of the words, in bits.
        vocabulary: Different words.
        commonest: A text that comes most often, and how often.
        balance: Of the classes, 0 to 1.
        classes: Texts by class.
        frequencies: How often the words come, in falling order.
        top_words: The commonest words with how often they come.
        words: Lengths in words.
        tokens: Lengths in tokens, if there is a tokenizer.
        outside: Vocabulary -> words outside of it.
        growth: n and the expected number of distinct texts among n.
    """

    name: str
    n: int
    distinct: int
    distinct_1: float | None
    distinct_2: float | None
    distinct_3: float | None
    distance: float | None
    distance_within: float | None
    entropy: float
    vocabulary: int
    commonest: tuple[str, int]
    balance: float
    classes: Mapping[str, int]
    frequencies: tuple[int, ...] = field(repr=False)
    top_words: tuple[tuple[str, int], ...]
    words: Lengths
    tokens: Lengths | None
    outside: Mapping[str, Outside]
    growth: tuple[tuple[int, float], ...] = field(repr=False)

    @property
    def distinct_share(self) -> float:
        """Different texts over all texts."""
        return self.distinct / self.n

    @property
    def commonest_share(self) -> float:
        """Share of the texts that are the commonest one."""
        return self.commonest[1] / self.n


def measure(
    tally: Tally, count_tokens: Callable[[str], int] | None = None, token_limit: int | None = None
) -> Figures:
    """The figures of a set.

    Args:
        count_tokens: Tokens of a text; asked for up to `MEASURED` texts, drawn from each class in proportion.
        token_limit: Tokens that a generator reads.

    Raises:
        ValueError: The set is empty.
    """
    tally.finish()
    if not tally.n:
        raise ValueError(f"set {tally.name!r} has no text; there is nothing to measure")
    counts = tally.word_counts
    names = list(tally.words)
    order = np.lexsort((np.array(names, str), -counts)) if names else np.empty(0, np.int64)
    distance, within = distances(*tally.directions)
    return Figures(
        name=tally.name,
        n=tally.n,
        distinct=len(tally.texts.keys),
        distinct_1=_ratio(len(counts), counts),
        distinct_2=_ratio(len(tally.pairs.keys), tally.pairs.values),
        distinct_3=_ratio(len(tally.triples.keys), tally.triples.values),
        distance=distance,
        distance_within=within,
        entropy=_entropy(counts) / float(np.log(2)),
        vocabulary=len(counts),
        commonest=(tally.commonest, int(tally.texts.values.max())),
        balance=balance(tally.classes.values()),
        classes=tally.classes,
        frequencies=tuple(counts[order].tolist()),
        top_words=tuple((names[word], int(counts[word])) for word in order[:TOP_WORDS]),
        words=lengths(tally.lengths),
        tokens=None if count_tokens is None else _tokens(tally, count_tokens, token_limit),
        outside={name: _outside(tally, name, [names[word] for word in order]) for name in tally.vocabularies},
        growth=rarefaction(tally.texts.values.astype(np.int64)),
    )


def distances(
    classes: Ints, words: Ints, values: Floats, spoken: Ints | Floats, squares: Floats | None = None
) -> tuple[float | None, float | None]:
    """Mean distance over all pairs of texts, and the mean over classes of that over the class's pairs.

    The mean cosine of the pairs of m unit vectors is (|sum of them|^2 - m) / (m (m - 1)).

    Args:
        classes: (P,) Classes of the entries, from 0.
        words: (P,) Words of the entries, from 0.
        values: (P,) Sum over the texts of a class of the entry of their unit vectors at a word.
        spoken: (C,) Texts of each class; with weights, the sum of the weights.
        squares: (C,) Sum of the squared weights; without weights the same as `spoken`.
    """
    squares = np.asarray(spoken, np.float64) if squares is None else squares
    own = np.bincount(classes, values**2, len(spoken))
    whole = float((np.bincount(words, values) ** 2).sum()) if len(words) else 0.0
    pairs = np.asarray(spoken, np.float64) ** 2 - squares
    all_pairs = float(spoken.sum()) ** 2 - float(squares.sum())
    some = pairs > 0
    distance = 1 - (whole - float(squares.sum())) / all_pairs if all_pairs > 0 else None
    within = float((1 - (own[some] - squares[some]) / pairs[some]).mean()) if some.any() else None
    return distance, within


def rarefaction(counts: Ints) -> tuple[tuple[int, float], ...]:
    """Expected number of distinct texts among m of a set, for numbers m up to all (Hurlbert 1971, equation 3).

    Args:
        counts: (D,) How often each distinct text comes.
    """
    total = int(counts.sum())
    times, how_many = np.unique(counts, return_counts=True)
    steps = range(int(np.log10(total) * STEPS_A_DECADE) + 1)
    sizes = sorted({round(10 ** (step / STEPS_A_DECADE)) for step in steps} | {total})
    return tuple((size, _expected_distinct(times, how_many, total, size)) for size in sizes if size <= total)


def _expected_distinct(times: Ints, how_many: Ints, total: int, size: int) -> float:
    missing = np.array([
        np.exp(_log_choose(total - each, size) - _log_choose(total, size)) if total - each >= size else 0.0
        for each in times.tolist()
    ])
    return float((how_many * (1 - missing)).sum())


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def balance(counts: Iterable[int]) -> float:
    """Entropy of the counts over its largest value; 1.0 where there is one class."""
    found = np.array([count for count in counts if count], np.int64)
    return _entropy(found) / float(np.log(len(found))) if len(found) > 1 else 1.0


def lengths(counts: Ints, limit: int | None = None) -> Lengths:
    """Lengths from the number of texts (L,) of each length 0 .. L - 1; at least one text."""
    n = int(counts.sum())
    reached = np.cumsum(counts)
    places = np.arange(len(counts))
    return Lengths(
        n=n,
        mean=float((counts * places).sum() / n),
        median=int(np.searchsorted(reached, 0.5 * n)),
        percentile_95=int(np.searchsorted(reached, 0.95 * n)),
        longest=int(np.flatnonzero(counts)[-1]),
        counts=tuple(counts.tolist()),
        limit=limit,
        above=None if limit is None else float(counts[limit + 1:].sum() / n),
    )


def _tokens(tally: Tally, count_tokens: Callable[[str], int], limit: int | None) -> Lengths:
    texts = [text for _, text in tally.draw(MEASURED)]
    known = {text: count_tokens(text) for text in dict.fromkeys(texts)}
    return lengths(np.bincount([known[text] for text in texts]), limit)


def _outside(tally: Tally, name: str, ordered: list[str]) -> Outside:
    counts, vocabulary = tally.word_counts, tally.vocabularies[name]
    words = tuple((word, int(counts[tally.words[word]])) for word in ordered if word not in vocabulary)
    return Outside(tally.touched[name] / tally.n, words)


def _entropy(counts: Ints) -> float:
    if not len(counts):
        return 0.0
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0


def _ratio(different: int, counts: NDArray[np.int64] | Floats) -> float | None:
    total = float(counts.sum())
    return different / total if total else None
