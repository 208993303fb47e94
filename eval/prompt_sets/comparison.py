"""Sets of texts side by side: at the same number of texts from each class, and how much one set has of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from terrasynth.eval.prompt_sets.diversity import Figures, distances, measure
from terrasynth.eval.prompt_sets.tally import Floats, Ints, Tally, split_words

RESAMPLES = 200
SAMPLE = 500  # texts whose nearest text in another set is looked for
Interval = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Sets at equal number of texts.

    Attributes:
        classes: Texts taken of each class, from each set; empty where the sets share no class.
        figures: One a set, of the texts taken, in the order of the sets.
        distance: One a set, 95 % bootstrap interval of `Figures.distance`: texts drawn anew within their classes, pairs
            of a text with itself left out; None where there are less than two texts.
        distance_within: The same of `Figures.distance_within`.
    """

    classes: Mapping[str, int]
    figures: tuple[Figures, ...]
    distance: tuple[Interval | None, ...]
    distance_within: tuple[Interval | None, ...]

    @property
    def n(self) -> int:
        """Texts taken of each set."""
        return self.figures[0].n


@dataclass(frozen=True)
class Novelty:
    """What a set says that another does not.

    Attributes:
        n: All texts of the set.
        new: Share of them that equal no text of the other set, in words.
        sample: Texts, drawn at random, whose nearest text in the other set was looked for.
        reference: Different texts of the other set that were looked at: all, or those that its tally kept.
        distance: Mean Jaccard distance of the words to the nearest text, 0 to 1; None where no text has a word.
        interval: 95 % bootstrap interval of it.
    """

    name: str
    other: str
    n: int
    new: float
    sample: int
    reference: int
    distance: float | None
    interval: Interval | None


@dataclass(frozen=True)
class ReportedSet:
    """A set of texts and where it is from.

    Attributes:
        about: One line on their source.
        seen: Candidates from which they were chosen; None where nothing was dropped or nobody counted.
        drops: Reason -> candidates dropped for it.
        notes: What else is to be said of the candidates -> of how many it is true.
    """

    tally: Tally
    about: str
    seen: int | None = None
    drops: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Sets with everything that is measured of them; `equal` and `novelty` where there are two sets or more."""

    sets: tuple[ReportedSet, ...]
    figures: tuple[Figures, ...]
    equal: Comparison | None
    novelty: tuple[Novelty, ...]


def compare(tallies: Sequence[Tally], seed: int = 0, resamples: int = RESAMPLES) -> Comparison:
    """Measure sets at equal number: of each class that all have, as many texts as the set with the fewest kept.

    Sets without a common class are compared at equal number without regard to classes.

    Args:
        tallies: The sets, one or more, none of them empty.
        seed: Decides the intervals; which texts are taken is decided by the tallies' own seeds.
        resamples: Bootstrap samples.

    Raises:
        ValueError: A set is empty.
    """
    for tally in tallies:
        if not tally.finish().n:
            raise ValueError(f"set {tally.name!r} has no text; there is nothing to compare")
    shared = [label for label in tallies[0].labels if all(label in tally.labels for tally in tallies)]
    counts = {label: min(len(tally.kept(label)) for tally in tallies) for label in shared}
    if shared:
        draws = [tally.draw_classes(counts) for tally in tallies]
    else:
        least = min(sum(len(tally.kept(label)) for label in tally.labels) for tally in tallies)
        draws = [_any(tally, least) for tally in tallies]
    equal = []
    for tally, draw in zip(tallies, draws, strict=True):
        equal.append(Tally(tally.name, tally.seed, tally.vocabularies))
        equal[-1].add(draw)
    intervals = [distance_intervals(draw, seed, resamples) for draw in draws]
    return Comparison(
        counts, tuple(map(measure, equal)), tuple(one for one, _ in intervals), tuple(one for _, one in intervals)
    )


def _any(tally: Tally, count: int) -> list[tuple[str, str]]:
    order = np.random.Generator(np.random.PCG64(tally.seed))
    everything = [(label, text) for label in tally.labels for text in tally.kept(label)]
    return [everything[place] for place in order.permutation(len(everything))[:count].tolist()]


def distance_intervals(
    texts: Sequence[tuple[str, str]], seed: int, resamples: int = RESAMPLES
) -> tuple[Interval | None, Interval | None]:
    """95 % percentile intervals of the mean distance over all pairs and within classes.

    Args:
        texts: Class and text.
        seed: Decides the resamples.
        resamples: How often the texts are drawn anew, each class for itself.
    """
    said = [(label, sorted(set(split_words(text)))) for label, text in texts]
    said = [(label, words) for label, words in said if words]
    if len(said) < 2:
        return None, None
    names = {label: number for number, label in enumerate(dict.fromkeys(label for label, _ in said))}
    numbers = {word: number for number, word in enumerate(dict.fromkeys(word for _, words in said for word in words))}
    labels = np.array([names[label] for label, _ in said])
    lengths = np.array([len(words) for _, words in said])
    rows = np.repeat(np.arange(len(said)), lengths)
    ids = np.array([numbers[word] for _, words in said for word in words])
    entries, inverse = np.unique(labels[rows] * len(numbers) + ids, return_inverse=True)
    classes, words = entries // len(numbers), entries % len(numbers)
    draws = np.random.Generator(np.random.PCG64(seed))
    found = []
    for _ in range(resamples):
        weights = _weights(labels, draws)
        values = _sums(inverse, (weights / np.sqrt(lengths))[rows])
        spoken, squares = _sums(labels, weights), _sums(labels, weights**2)
        found.append(distances(classes, words, values, spoken, squares))
    return _interval([one for one, _ in found]), _interval([one for _, one in found])


def _sums(labels: Ints, values: Floats) -> Floats:
    return np.asarray(np.bincount(labels, values), np.float64)


def _weights(labels: Ints, draws: np.random.Generator) -> Floats:
    """How often each text comes when as many are drawn of each class as it has."""
    weights = np.zeros(len(labels))
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        weights[members] = np.bincount(draws.integers(len(members), size=len(members)), minlength=len(members))
    return weights


def _interval(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def novelty(tallies: Sequence[Tally], seed: int = 0, sample: int = SAMPLE) -> tuple[Novelty, ...]:
    """How new each set is to each other one.

    Args:
        tallies: The sets, none of them empty.
        seed: Decides the intervals.
        sample: Texts of a set whose nearest one is looked for, drawn from its classes in proportion.
    """
    return tuple(_novelty(one.finish(), other.finish(), seed, sample) for one, other in permutations(tallies, 2))


def _novelty(tally: Tally, other: Tally, seed: int, sample: int) -> Novelty:
    known = np.isin(tally.texts.keys, other.texts.keys)
    references = {frozenset(split_words(text)) for label in other.labels for text in other.kept(label)} - {frozenset()}
    drawn = [frozenset(split_words(text)) for _, text in tally.draw(sample)]
    drawn = [words for words in drawn if words]
    found = nearest_distances(drawn, sorted(references, key=sorted))
    interval = None
    if len(found):
        draws = np.random.Generator(np.random.PCG64(seed))
        means = found[draws.integers(len(found), size=(RESAMPLES, len(found)))].mean(axis=1)
        interval = _interval(means.tolist())
    return Novelty(
        tally.name, other.name, tally.n, float(tally.texts.values[~known].sum() / tally.n), len(found), len(references),
        float(found.mean()) if len(found) else None, interval,
    )


def nearest_distances(texts: Sequence[frozenset[str]], references: Sequence[frozenset[str]]) -> Floats:
    """Jaccard distance of each set of words (N) to the nearest of the references, 1.0 where none shares a word.

    Args:
        texts: Sets of one word or more.
        references: The same.
    """
    places: dict[str, list[int]] = {}
    for number, words in enumerate(references):
        for word in words:
            places.setdefault(word, []).append(number)
    index = {word: np.array(found) for word, found in places.items()}
    sizes = np.array([len(words) for words in references])
    distances_found = np.ones(len(texts))
    for number, words in enumerate(texts):
        hits = [index[word] for word in words if word in index]
        if hits:
            common = np.bincount(np.concatenate(hits), minlength=len(sizes))
            distances_found[number] = 1 - (common / (len(words) + sizes - common)).max()
    return distances_found


def measure_sets(
    sets: Sequence[ReportedSet], count_tokens: Callable[[str], int] | None = None, token_limit: int | None = None,
    seed: int = 0,
) -> Measured:
    """Measure sets, each for itself and side by side.

    Args:
        sets: One or more, none of them empty; the first is what the report is about.
        count_tokens: Tokens of a text.
        token_limit: Tokens that a generator reads.
        seed: Decides the intervals.

    Raises:
        ValueError: A set is empty.
    """
    figures = tuple(measure(one.tally, count_tokens, token_limit) for one in sets)
    tallies = [one.tally for one in sets]
    several = len(sets) > 1
    return Measured(tuple(sets), figures, compare(tallies, seed) if several else None, novelty(tallies, seed))
