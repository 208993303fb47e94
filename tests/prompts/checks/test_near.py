"""Equal and near texts: exact where it says exact, and against the similarity of all pairs where it is hashed."""

import random

import pytest

from terrasynth.prompts import load_expander
from terrasynth.prompts.checks.near import BANDS, RECALL, NearIndex, TextSet, _rows, shingles
from terrasynth.prompts.scenes.wording import words


def triples(text):
    said = words(text)
    return {tuple(said[i : i + 3]) for i in range(max(1, len(said) - 2))}


def jaccard(one, other):
    return len(one & other) / len(one | other)


@pytest.fixture(scope="module")
def texts():
    grammar = load_expander("grammar")
    return [one.text for label in ("river", "harbor") for one in grammar.expand(label, 2, 0, 250)]


def test_a_set_of_texts_is_a_set_of_their_wordings():
    kept, held = TextSet(), set()
    draws = random.Random(0)
    for _ in range(3000):
        text = f"Text {draws.randrange(2000)}"
        assert (text in kept) is (text in held)
        assert kept.add(text) is (text not in held)
        held.add(text)
    assert len(kept) == len(held) > 1000
    assert not kept.add("TEXT-" + next(iter(held)).split()[1] + ".")


def test_shingles_are_runs_of_three_words():
    for text in ("Two white boats in a harbor.", "Two boats", ""):
        assert len(shingles(text)) == len(triples(text))
    assert shingles("A river, a river, a river") == shingles("a river a river a")
    one, other = "many white boats in the harbor", "many white boats in the deep blue harbor"
    assert jaccard(shingles(one), shingles(other)) == jaccard(triples(one), triples(other)) == 3 / 7


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
def test_near_texts_are_those_of_all_pairs(texts, threshold):
    index, kept, known = NearIndex(threshold), [], 0
    for text in texts:
        similar = max((jaccard(triples(text), other) for other in kept), default=0.0)
        assert index.near(text) <= (similar >= threshold)
        put_in = index.add(text)
        known += similar >= threshold
        assert put_in or similar >= threshold
        if put_in:
            assert similar < threshold or similar < 1  # an equal text has equal signatures and is always found
            kept.append(triples(text))
    assert len(index) == len(kept)
    found = len(texts) - len(kept)
    assert known
    assert found >= RECALL * known - 1


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.9])
def test_bands_find_what_they_promise_and_are_no_wider_than_needed(threshold):
    def recall(rows):
        return 1 - (1 - threshold**rows) ** BANDS

    assert recall(_rows(threshold)) >= RECALL
    assert recall(_rows(threshold) + 1) < RECALL or _rows(threshold) == 8
