"""Figures of sets of texts: closed forms, and second implementations by brute force."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrasynth.eval.prompt_sets import tally
from terrasynth.eval.prompt_sets.comparison import compare, distance_intervals, nearest_distances, novelty
from terrasynth.eval.prompt_sets.diversity import balance, lengths, measure, rarefaction
from terrasynth.eval.prompt_sets.tally import Sums, Tally, split_words

WORDS = ("a", "red", "boat", "two", "boats", "near", "the", "quay", "sand", "0.5")
texts = st.lists(
    st.tuples(st.sampled_from(["quay", "mill", ""]), st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)),
    min_size=1, max_size=30,
)


def counted(pairs, name="set", seed=0, **options):
    found = Tally(name, seed, **options)
    found.add(pairs)
    return found.finish()


def cosine_distance(one, other):
    one, other = set(split_words(one)), set(split_words(other))
    return 1 - len(one & other) / math.sqrt(len(one) * len(other))


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def many(classes=3, each=40):
    draws = np.random.default_rng(0)
    return [(f"class {label}", " ".join(draws.choice(WORDS, 5))) for _ in range(each) for label in range(classes)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A close-up of 2 Boats.", ["a", "close", "up", "of", "2", "boats"]),
        ("0.5 m: tennis_court, farmer's field", ["0.5", "m", "tennis", "court", "farmer's", "field"]),
        ("Büsche und 3.", ["büsche", "und", "3"]),
        ("... -", []),
    ],
)
def test_words(text, words):
    assert split_words(text) == words


def test_figures_of_a_set_that_can_be_counted_by_hand():
    pairs = [("quay", "A red boat."), ("quay", "a  RED boat"), ("quay", "two boats"), ("mill", "sand")]
    found = measure(counted(pairs))
    assert (found.n, found.distinct, found.distinct_share) == (4, 3, 0.75)
    assert found.distinct_1 == 6 / 9
    assert found.distinct_2 == 3 / 5
    assert found.distinct_3 == 1 / 2
    assert found.commonest in (("A red boat.", 2), ("a  RED boat", 2))
    assert found.commonest_share == 0.5
    assert found.distance == pytest.approx(5 / 6)  # one of six pairs is equal, the others share no word
    assert found.distance_within == pytest.approx(2 / 3)
    assert found.entropy == pytest.approx(6 / 9 * math.log2(9 / 2) + 3 / 9 * math.log2(9))
    assert found.vocabulary == 6
    assert found.top_words == (("a", 2), ("boat", 2), ("red", 2), ("boats", 1), ("sand", 1), ("two", 1))
    assert found.classes == {"quay": 3, "mill": 1}
    assert found.balance == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))
    assert (found.words.mean, found.words.median, found.words.longest) == (9 / 4, 2, 3)
    assert found.words.counts == (0, 1, 1, 2)


@settings(deadline=None)
@given(texts)
def test_figures_equal_those_of_brute_force(pairs):
    found = measure(counted(pairs))
    said = [split_words(text) for _, text in pairs]
    assert found.distinct == len({tuple(words) for words in said})
    for size, figure in ((1, found.distinct_1), (2, found.distinct_2), (3, found.distinct_3)):
        grams = [tuple(words[start:start + size]) for words in said for start in range(len(words) - size + 1)]
        assert figure == (len(set(grams)) / len(grams) if grams else None)
    speaking = [(label, text) for label, text in pairs if split_words(text)]
    whole = mean(cosine_distance(one, other) for (_, one), (_, other) in combinations(speaking, 2))
    by_class = [
        mean(cosine_distance(one, other) for one, other in combinations(members, 2))
        for label in {label for label, _ in speaking}
        if len(members := [text for its, text in speaking if its == label]) > 1
    ]
    assert found.distance == (None if whole is None else pytest.approx(whole, abs=1e-9))
    assert found.distance_within == (pytest.approx(mean(by_class), abs=1e-9) if by_class else None)
    assert dict(found.top_words) == Counter(word for words in said for word in words)
    assert found.commonest[1] == max(Counter(map(tuple, said)).values())
    assert tuple(split_words(found.commonest[0])) in {
        words for words, count in Counter(map(tuple, said)).items() if count == found.commonest[1]
    }


def test_portions_and_chunks_change_nothing(monkeypatch):
    pairs = many()
    whole = counted(pairs, vocabularies={"small": frozenset(WORDS[:6])})
    monkeypatch.setattr(tally, "CHUNK", 7)
    parts = Tally("set", 0, {"small": frozenset(WORDS[:6])})
    for start in range(0, len(pairs), 5):
        parts.add(pairs[start:start + 5])
    parts.finish()
    one, other = measure(whole), measure(parts)
    assert one.distance == pytest.approx(other.distance)
    assert one.distance_within == pytest.approx(other.distance_within)
    for field in ("n", "distinct", "distinct_1", "distinct_2", "distinct_3", "top_words", "words", "outside", "growth"):
        assert getattr(one, field) == getattr(other, field)
    assert all(whole.kept(label) == parts.kept(label) for label in whole.labels)


def test_the_kept_texts_are_a_draw_from_the_whole_stream(monkeypatch):
    monkeypatch.setattr(tally, "KEEP", 50)
    monkeypatch.setattr(tally, "CHUNK", 64)
    pairs = [("quay", f"boat {number}") for number in range(1000)] + [("mill", "sand")]
    kept = counted(pairs).kept("quay")
    numbers = [int(text.split()[1]) for text in kept]
    assert len(set(numbers)) == 50
    assert 300 < mean(numbers) < 700
    assert kept != counted(pairs, seed=1).kept("quay")
    monkeypatch.setattr(tally, "KEEP", 20)
    assert counted(pairs).kept("quay") == kept[:20]
    assert counted(pairs).kept("mill") == ["sand"]
    assert counted(pairs).kept("dam") == []


def test_sums_by_key():
    sums, keys = Sums(), np.array([5, 3, 5, 9, 3, 1, 2**64 - 1], np.uint64)
    for part in (keys[:3], keys[:0], keys[3:]):
        sums.add(part, part.astype(float))
    assert sums.keys.tolist() == [1, 3, 5, 9, 2**64 - 1]
    assert sums.values.tolist() == [1.0, 6.0, 10.0, 9.0, float(2**64 - 1)]


def test_rarefaction_is_the_mean_over_all_draws():
    counts = [4, 2, 1, 1]
    bag = [kind for kind, count in enumerate(counts) for _ in range(count)]
    curve = dict(rarefaction(np.array(counts)))
    assert set(curve) >= {1, 2, 3, 8}
    for size, expected in curve.items():
        assert expected == pytest.approx(mean(len(set(draw)) for draw in combinations(bag, size)))


def test_balance_and_lengths():
    assert balance([5, 5, 5]) == pytest.approx(1)
    assert balance([7]) == balance([7, 0]) == 1
    assert balance([1, 99]) < 0.1
    found = lengths(np.array([0, 10, 85, 3, 0, 2]), limit=2)
    assert (found.n, found.median, found.percentile_95, found.longest, found.above) == (100, 2, 2, 5, 0.05)


def test_tokens_and_words_outside_of_a_vocabulary():
    pairs = [("quay", "a red boat"), ("quay", "a blue blue boat"), ("mill", "sand"), ("mill", "cinematic sand")]
    plain = frozenset(["a", "red", "boat", "sand"])
    found = measure(counted(pairs, vocabularies={"plain": plain}), len, token_limit=10)
    assert found.tokens.counts[4] == found.tokens.counts[10] == found.tokens.counts[14] == found.tokens.counts[16] == 1
    assert (found.tokens.limit, found.tokens.above) == (10, 0.5)
    assert found.outside["plain"].share == 0.5
    assert found.outside["plain"].words == (("blue", 2), ("cinematic", 1))


def test_an_empty_set_has_no_figures():
    with pytest.raises(ValueError, match="set 'none' has no text"):
        measure(Tally("none"))
    with pytest.raises(ValueError, match="set 'none' has no text"):
        compare([counted(many()), Tally("none")])


def test_sets_are_compared_at_equal_number_and_classes():
    large = [("quay", f"boat {number % 90}") for number in range(900)] + [("mill", "sand")] * 7 + [("dam", "wall")]
    small = [("mill", f"sand {number}") for number in range(5)] + [("quay", f"quay {number}") for number in range(30)]
    found = compare([counted(large, "large"), counted(small, "small")])
    assert found.classes == {"quay": 30, "mill": 5}
    assert found.n == 35
    assert [one.classes for one in found.figures] == [{"quay": 30, "mill": 5}] * 2
    assert found.figures[0].distinct_share > measure(counted(large)).distinct_share
    assert found.figures[1].distinct_share == 1
    low, high = found.distance[1]
    assert low <= found.figures[1].distance <= high
    assert compare([counted(large, "large"), counted(small, "small")]) == found


def test_sets_without_a_common_class_are_compared_all_the_same():
    found = compare([counted(many(2, 10)), counted([("dam", "a wall"), ("", "two walls"), ("", "walls")])])
    assert found.classes == {}
    assert [one.n for one in found.figures] == [3, 3]


def test_the_interval_covers_the_distance_of_the_population():
    """Texts are drawn from a population whose mean distance is known: about 95 % of the intervals hold it."""
    population = [" ".join(pair) for pair in combinations(WORDS, 2)]
    true = mean(cosine_distance(one, other) for one in population for other in population)
    draws = np.random.default_rng(1)
    inside = 0
    for trial in range(100):
        sample = [("quay", population[number]) for number in draws.integers(len(population), size=80)]
        low, high = distance_intervals(sample, trial, 100)[0]
        inside += low <= true <= high
    assert inside >= 85


def test_novelty_and_nearest_texts():
    ours = counted([("quay", "a red boat"), ("quay", "Two boats!"), ("quay", "sand"), ("mill", "...")], "ours")
    theirs = counted([("quay", "two boats"), ("quay", "a red quay")], "theirs")
    forth, back = novelty([ours, theirs])
    assert (forth.name, forth.other, forth.n, forth.new) == ("ours", "theirs", 4, 0.75)
    assert (forth.sample, forth.reference) == (3, 2)
    assert forth.distance == pytest.approx((0.5 + 0 + 1) / 3)
    assert (back.new, back.distance) == (0.5, pytest.approx(0.25))
    assert forth.interval[0] <= forth.distance <= forth.interval[1]


word_sets = st.lists(st.frozensets(st.sampled_from(WORDS), min_size=1), min_size=1, max_size=8)


@settings(deadline=None)
@given(word_sets, word_sets)
def test_nearest_distances_equal_those_of_brute_force(ours, theirs):
    expected = [min(1 - len(one & other) / len(one | other) for other in theirs) for one in ours]
    assert nearest_distances(ours, theirs).tolist() == pytest.approx(expected)


def test_large_sets_are_compared_by_a_sample():
    one, other = counted(many(), "one"), counted([("class 0", "a red boat")], "other")
    found = novelty([one, other], sample=10)[0]
    assert 10 <= found.sample <= 12  # each class is rounded up
