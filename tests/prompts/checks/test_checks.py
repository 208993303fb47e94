"""Checks of prompts: each catches what it is for, and the stream that is left depends on nothing but its key."""

import json
import math
import random
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrasynth.prompts import Expander, Prompt, load_expander
from terrasynth.prompts.checks.candidates import CHUNK, PATIENCE, POOL, POOL_CANDIDATES, REASONS
from terrasynth.prompts.checks.checked import CheckedExpander
from terrasynth.prompts.checks.near import shingles
from terrasynth.prompts.checks.settings import CheckSettings
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.wording import concepts, words

OFF = {"view": False, "keep_class": False}
GRAMMAR = load_expander("grammar")


def checked(inner, count_tokens=None, **values):
    return CheckedExpander(inner, CheckSettings.parse({"profile": "ucm", **values}), count_tokens)


def texts(expander, label, count, seed=0, start=0):
    return [prompt.text for prompt in expander.expand(label, seed, start, count)]


@pytest.fixture
def rows(tmp_path):
    """A file expander over the texts of one class; a list in place of a text is the prompt with its captions."""

    def make(*prompts, label="river"):
        path = tmp_path / f"{label}.jsonl"
        fields = [{"text": one} if isinstance(one, str) else {"text": one[0], "captions": one} for one in prompts]
        path.write_text("\n".join(json.dumps({"label": label, **one}) for one in fields), encoding="utf-8")
        return load_expander("file", path=path)

    return make


class Counting:
    """The grammar, and which candidates it was asked for."""

    name, classes = "grammar", GRAMMAR.classes

    def __init__(self):
        self.asked = Counter()

    def identity(self):
        return GRAMMAR.identity()

    def expand(self, label, seed, start, count):
        self.asked.update(range(start, start + count))
        return GRAMMAR.expand(label, seed, start, count)


@pytest.mark.parametrize(("values", "text", "reason"), [
    ({}, "An elegant river, cinematic.", "view from the ground"),
    ({}, "Water with trees.", "class not named"),
    ({}, "A river beside a parking lot.", "another class named"),
    ({"vocabulary": "ucm", "strict_vocabulary": True}, "A river with cormorants.", "words outside the vocabulary"),
])  # fmt: skip
def test_a_check_drops_what_it_is_for_and_says_why(rows, values, text, reason):
    good = ["A river.", "A river with trees on both banks."]
    expander = checked(rows(good[0], text, good[1]), **values)
    assert texts(expander, "river", 5) == [good[0], good[1], good[0], good[1], good[0]]
    assert expander.drops("river") == {reason: 2}
    assert expander.seen("river") == 7
    assert expander.notes("river") == ({"words outside the vocabulary": 2} if "vocabulary" in values else {})
    everything = checked(rows(good[0], text, good[1]), **OFF)
    assert texts(everything, "river", 3) == [good[0], text, good[1]]
    assert everything.drops("river") == {}


def test_all_prompts_of_the_grammar_pass():
    expander = checked(GRAMMAR, vocabulary="ucm", strict_vocabulary=True)
    for label in GRAMMAR.classes:
        assert expander.expand(label, 1, 0, 60) == GRAMMAR.expand(label, 1, 0, 60)
        assert expander.drops(label) == expander.notes(label) == {}


def test_words_outside_the_vocabulary_are_counted_and_kept(rows):
    expander = checked(rows("A river with 12 cormorants and Cormorants.", "A river."), vocabulary="ucm")
    assert len(texts(expander, "river", 4)) == 4
    assert expander.notes("river") == {"words outside the vocabulary": 2}
    assert expander.notes("river", 0, 1) == expander.notes("river", 0, 2) == {"words outside the vocabulary": 1}
    assert expander.identity() == checked(rows("A river with 12 cormorants and Cormorants.", "A river.")).identity()


def test_a_class_that_is_not_known_is_not_checked_and_that_is_said(rows, caplog):
    expander = checked(rows("Ships at a quay.", label="quay"))
    assert texts(expander, "quay", 3) == ["Ships at a quay."] * 3
    assert expander.notes("quay") == {"class not checked": 3}
    assert expander.drops("quay") == {}
    assert caplog.text.count("class 'quay' is none of profile 'ucm'") == 1


def test_a_class_is_known_by_the_label_of_a_data_set(rows):
    expander = checked(rows("A parking lot.", "A tennis court.", label="TennisCourt"))
    assert texts(expander, "TennisCourt", 2) == ["A tennis court."] * 2
    assert expander.drops("TennisCourt") == {"class not named": 2}
    assert expander.notes("TennisCourt") == {}


def test_a_text_is_given_once(rows):
    expander = checked(rows("A river.", "a  RIVER", "Two rivers.", "A river!"), distinct=True)
    assert texts(expander, "river", 2) == ["A river.", "Two rivers."]
    assert expander.drops("river") == {"duplicate": 1}
    many = texts(checked(GRAMMAR, distinct=True), "forest", 300)
    assert len({" ".join(words(text)) for text in many}) == 300


def test_near_duplicates_are_dropped_and_others_are_not():
    loose, strict = (texts(checked(GRAMMAR, near=near, distinct=True), "tenniscourt", 120) for near in (0.9, 0.4))
    for threshold, kept in ((0.9, loose), (0.4, strict)):
        assert len(set(kept)) == 120  # no lap
        sets = [shingles(text) for text in kept]
        pairs = [len(a & b) / len(a | b) for i, a in enumerate(sets) for b in sets[:i]]
        assert sum(similarity >= threshold for similarity in pairs) <= 0.001 * len(pairs)
    assert loose != strict
    assert any(
        0.4 <= len(a & b) / len(a | b) < 0.9
        for i, a in enumerate(map(shingles, loose)) for b in map(shingles, loose[:i])
    )  # fmt: skip


def test_captions_of_the_reference_are_not_repeated(rows, tmp_path):
    known, close, new = "Many trees on both banks of a river.", "Many trees on both banks of a wide river.", "A river."
    reference = tmp_path / "pairs.jsonl"
    held = [{"class": "river", "split": "train", "captions": ["x", known.upper()]},
            {"class": "river", "split": "test", "captions": [new]}]
    reference.write_text("\n".join(map(json.dumps, held)), encoding="utf-8")
    inner = rows(known, close, new)
    assert texts(checked(inner, reference=reference), "river", 3) == [close, new, close]
    overlap = checked(inner, reference=str(reference), max_overlap=0.5)
    assert texts(overlap, "river", 2) == [new, new]
    assert overlap.drops("river") == {"known caption": 4}
    whole = checked(inner, reference=reference, reference_split="all")
    assert texts(whole, "river", 2) == [close, close]
    assert len({json.dumps(one.identity()) for one in (overlap, whole, checked(inner, reference=reference))}) == 3


def test_a_reference_counts_by_its_wording_and_not_by_its_place(rows, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "river.txt").write_text("A river.\nTwo rivers.\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("two rivers\na river\na river\n", encoding="utf-8")
    (tmp_path / "c.txt").write_text("two rivers\n", encoding="utf-8")
    inner = rows("A river.", "Many rivers.")
    a, b, c = (checked(inner, reference=tmp_path / name).identity() for name in ("a", "b.txt", "c.txt"))
    assert a == b != c
    assert str(tmp_path) not in json.dumps(a)
    with pytest.raises(InputError, match=r"none\.txt' of the captions expander does not exist"):
        checked(inner, reference=tmp_path / "none.txt")


def test_a_prompt_that_is_too_long_takes_a_caption_that_fits(rows):
    long, middle, short = "A river with trees and some boats.", "A river with trees.", "A river."
    inner = rows([long, middle, short], "A long river that nothing is left to say of.", [short, long])
    expander = checked(inner, lambda text: len(text.split()), max_tokens=4)
    first, second = expander.expand("river", 0, 0, 2)
    assert first.captions == (middle, short)  # what the long one says beside is not drawn
    assert first.text == middle
    assert second.captions == (short,)
    assert expander.drops("river") == {"too many tokens": 1}
    assert expander.expand("river", 0, 0, 1) == [first]
    assert expander.identity() != checked(inner, len, max_tokens=5).identity()
    with pytest.raises(InputError, match="max_tokens 4 needs a model whose tokenizer counts"):
        checked(inner, max_tokens=4)
    with pytest.raises(InputError, match="max_tokens 'auto' needs a model"):
        checked(inner, len, max_tokens="auto")


def entropy(said):
    counts = Counter(concept for text in said for concept in concepts(text))
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())


class Skewed:
    """Rivers with one of 100 things, the n-th of them seen with a frequency of 1 / n."""

    name, classes = "skewed", ("river",)

    def identity(self):
        return {"expander": self.name}

    def expand(self, label, seed, start, count):
        draws = [random.Random(f"{seed} {k}").choices(range(100), [1 / n for n in range(1, 101)])[0]
                 for k in range(start, start + count)]
        return [Prompt(f"A river with thing{n}.", label, (f"A river with thing{n}.",), self.name) for n in draws]


def test_balance_flattens_the_concepts_and_dropping_at_random_does_not():
    expander = checked(Skewed(), balance=10)
    kept = texts(expander, "river", 200)
    candidates = texts(Skewed(), "river", expander.seen("river", 0, 200))
    assert expander.drops("river", 0, 200) == {"balance": len(candidates) - 200}
    at_random = [entropy(random.Random(seed).sample(candidates, 200)) for seed in range(20)]
    assert max(at_random) < entropy(candidates) + 0.1
    assert entropy(kept) > entropy(candidates) + 0.4


def test_balance_keeps_what_is_rare_and_so_many_of_what_is_not():
    expander = checked(Skewed(), balance=10)
    candidates = Counter(texts(Skewed(), "river", POOL))
    expander.expand("river", 0, 0, 1)
    kept = Counter(texts(expander, "river", POOL - expander.drops("river")["balance"]))
    rare = [text for text, count in candidates.items() if count <= 10]
    assert len(rare) > 20
    assert all(kept[text] == candidates[text] for text in rare)
    # Of n occurrences each is kept with 10 / n, and of all 2,048 with 10 / 2,048 for the word "river".
    often = [kept[text] for text, count in candidates.items() if count > 10]
    assert 8 < sum(often) / len(often) < 13


def test_balance_keeps_everything_where_every_concept_is_rare():
    expander = checked(GRAMMAR, balance=POOL)
    assert texts(expander, "river", 100) == texts(GRAMMAR, "river", 100)


CHECKS = {"distinct": True, "balance": 40}


@pytest.fixture(scope="module")
def stream():
    expander = checked(GRAMMAR, **CHECKS)
    return expander.expand("airplane", 5, 0, 90)


@settings(deadline=None, max_examples=3)
@given(start=st.integers(0, 60), before=st.integers(0, 15), count=st.integers(0, 15))
def test_any_window_of_the_stream_is_the_same_stream(stream, start, before, count):
    expander = checked(GRAMMAR, **CHECKS)
    expander.expand("airplane", 4, 0, 3)
    assert expander.expand("airplane", 5, start + before, count) == stream[start + before : start + before + count]
    assert expander.expand("airplane", 5, start, before) == stream[start : start + before]


def test_one_by_one_is_as_all_at_once_and_growing_keeps_what_was():
    one, all_at_once = (checked(GRAMMAR, distinct=True, near=0.8) for _ in range(2))
    singly = [prompt for k in range(200) for prompt in one.expand("harbor", 0, k, 1)]
    assert singly == all_at_once.expand("harbor", 0, 0, 200)
    assert (one.seen("harbor"), one.drops("harbor")) == (all_at_once.seen("harbor"), all_at_once.drops("harbor"))
    grown = all_at_once.expand("harbor", 0, 0, 260)
    assert grown[:200] == singly
    assert all_at_once.drops("harbor", 0, 200) == one.drops("harbor")
    assert isinstance(one, Expander)
    assert all_at_once.expand("harbor", 1, 0, 200) != singly


def test_no_candidate_is_asked_for_that_is_not_needed_and_old_ones_only_for_what_was_kept():
    inner = Counting()
    expander = checked(inner, distinct=True)
    expander.expand("forest", 0, 0, 2 * CHUNK)
    seen = expander.seen("forest")
    assert sorted(inner.asked) == list(range(seen))
    assert set(inner.asked.values()) == {1}
    inner.asked.clear()
    expander.expand("forest", 0, 10, 5)
    assert 5 <= inner.asked.total() <= 5 + 4 * 8
    assert expander.seen("forest") == seen


def test_when_only_duplicates_are_left_a_new_lap_begins(rows):
    bad = "A church."
    expander = checked(rows("A river.", "Two rivers.", bad, "A river."), distinct=True)
    assert texts(expander, "river", 5) == ["A river.", "Two rivers."] * 2 + ["A river."]
    assert expander.notes("river") == {"laps": 2}
    assert [expander.notes("river", 0, attempts).get("laps", 0) for attempts in range(6)] == [0, 0, 0, 1, 1, 2]
    assert expander.seen("river") > 2 * PATIENCE
    singly = checked(rows("A river.", "Two rivers.", bad, "A river."), distinct=True)
    assert [text for k in range(5) for text in texts(singly, "river", 1, start=k)] == texts(expander, "river", 5)


def test_the_pool_ends_where_too_few_candidates_pass():
    class Rare(Counting):
        def expand(self, label, seed, start, count):
            return [one if k % 9 == 0 else Prompt("A church.", label, ("A church.",), self.name)
                    for k, one in enumerate(super().expand(label, seed, start, count), start)]

    expander = checked(Rare(), balance=POOL)
    assert texts(expander, "river", 1) == texts(GRAMMAR, "river", 1)
    assert expander.seen("river") == POOL_CANDIDATES


def test_a_pool_that_runs_dry_is_all_there_is(rows):
    inner = rows(*(f"A river with {number} boats." for number in range(30)))
    expander = checked(inner, distinct=True, balance=30)
    assert sorted(texts(expander, "river", 60)) == sorted(2 * texts(inner, "river", 30))
    assert expander.notes("river") == {"laps": 1}


def test_where_nothing_passes_the_class_and_the_reasons_are_named_every_time(rows):
    expander = checked(rows("A lake.", "An elegant river.", "A river beside a parking lot."))
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            expander.expand("river", 0, 0, 1)
        message = str(caught.value)
        assert message.startswith(f"class 'river': none of {PATIENCE} prompts in a row of the file expander passed")
        assert "class not named 667" in message
        assert "view from the ground 667" in message
        assert "another class named 666" in message
        assert "\n" not in message
    assert expander.seen("river") == PATIENCE


def test_what_was_kept_before_nothing_more_came_can_be_had(rows):
    class Ending:
        name, classes = "ending", ("river",)

        def identity(self):
            return {"expander": self.name}

        def expand(self, label, seed, start, count):
            said = (f"A river with {k} boats." if k < 50 else "A church." for k in range(start, start + count))
            return [Prompt(text, label, (text,), self.name) for text in said]

    for values in ({}, {"balance": 60}):
        expander = checked(Ending(), **values)
        assert len(texts(expander, "river", 50)) == 50
        with pytest.raises(InputError, match="class not named 2000"):
            texts(expander, "river", 51)
        assert len(texts(expander, "river", 20, start=30)) == 20


def test_refusals_of_the_expander_itself_are_added(rows):
    class Refusing(Counting):
        def drops(self, label):
            return {"no answer": 3, "duplicate": 1}

    expander = checked(Refusing(), distinct=True)
    texts(expander, "forest", 100)
    own = checked(GRAMMAR, distinct=True)
    texts(own, "forest", 100)
    assert expander.drops("forest") == {"no answer": 3, "duplicate": own.drops("forest")["duplicate"] + 1}


def test_identity_names_what_changes_something_and_nothing_else(rows):
    assert checked(GRAMMAR, **OFF).identity() == GRAMMAR.identity()
    identities = [
        checked(GRAMMAR, **values).identity()
        for values in (OFF, {}, {"view": False}, {"keep_class": False}, {"distinct": True}, {"near": 0.5},
                       {"near": 0.6}, {"balance": 3}, {"vocabulary": "ucm", "strict_vocabulary": True})
    ]  # fmt: skip
    assert len({json.dumps(one, sort_keys=True) for one in identities}) == len(identities)
    unknown = rows("Ships.", label="quay")
    assert checked(unknown, view=False).identity() == unknown.identity()


def test_memory_is_a_few_bytes_a_candidate():
    expander = checked(GRAMMAR, view=False, keep_class=False, distinct=True)
    texts(expander, "river", 100)
    candidates = expander._streams["river", 0]

    def size():
        return sum(map(sys.getsizeof, (candidates._codes, candidates._kept, candidates._texts._table)))

    before, seen = size(), expander.seen("river")
    texts(expander, "river", 4000)
    assert (size() - before) / (expander.seen("river") - seen) < 40
    assert {type(value) for value in vars(candidates).values()}.isdisjoint({dict, set})
    assert candidates._pool == []


@pytest.mark.parametrize(("values", "message"), [
    ({"distnct": True}, "unknown key 'checks.distnct' (did you mean 'distinct'?); known keys here: view"),
    ({"near": 1.5}, "checks.near 1.5 is wrong"),
    ({"near": "0.5"}, "checks.near '0.5' is wrong"),
    ({"balance": 0}, "checks.balance 0 is wrong"),
    ({"distinct": "False"}, "checks.distinct 'False' is wrong"),
    ({"profile": "ucn"}, "checks.profile: profile 'ucn' is unknown (did you mean 'ucm'?); use ucm, open, rs"),
    ({"strict_vocabulary": True}, "strict_vocabulary needs a vocabulary"),
    ({"max_overlap": 0.5}, "max_overlap 0.5 needs a reference"),
    ({"max_tokens": "some"}, "checks.max_tokens 'some' is wrong: input should be 'auto' or a valid integer"),
])  # fmt: skip
def test_wrong_settings_are_named_on_one_line(values, message):
    with pytest.raises(InputError) as caught:
        CheckSettings.parse(values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reasons_are_told_apart_and_a_wrong_request_is_refused():
    assert len(set(REASONS)) == len(REASONS) < 256
    expander = checked(GRAMMAR)
    assert expander.expand("river", 0, 3, 0) == []
    assert expander.seen("river") == 0
    with pytest.raises(InputError, match="class 'harbour' is unknown to the grammar expander"):
        expander.expand("harbour", 0, 0, 1)
    with pytest.raises(ValueError, match="start -1"):
        expander.expand("river", 0, -1, 1)
