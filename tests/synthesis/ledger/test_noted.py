"""Decisions that are noted: a run that goes on reads no block of which a note holds, and is the same run."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrasynth.synthesis import run
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.events import BlockDone, ClassDone
from terrasynth.synthesis.filters import AlignmentFilter, Measurements
from terrasynth.synthesis.filters.base import ClassJudge, NamedJudge
from terrasynth.synthesis.filters.pairs import PairJudge
from terrasynth.synthesis.ledger import noted
from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.ledger.decisions import ClassDecisions, judgement_of
from terrasynth.synthesis.recipe import KeptRows, Recipe
from terrasynth.synthesis.verify.repair import set_aside
from terrasynth.synthesis.verify.verifying import Verification, verify
from tests.synthesis.helpers import decisions, exchange, fingerprint, resealed
from tests.synthesis.test_kill import cut_off
from tests.worker_cells import CLASSES, assert_same, cells_installed, tree

COLOUR = {"kind": "quality", "measure": "colour", "min_score": 35}
SHARP = {"kind": "quality", "measure": "sharpness", "min_score": 0.0}


@pytest.fixture(scope="module", autouse=True)
def cells(tmp_path_factory):
    with cells_installed(tmp_path_factory.mktemp("noted")):
        yield


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A note after every second block."""
    monkeypatch.setattr(noted, "BLOCKS", 2)


def recipe(per_class=9, filters=(COLOUR,), most=60, **runtime):
    return Recipe.parse(tree(**runtime) | {"filters": list(filters),
                                           "target": {"per_class": per_class, "max_attempts": most}})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that was never interrupted, with as many notes as one makes."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noted, "BLOCKS", 2)
        run(recipe(), out)
    return out


@pytest.fixture
def made(tmp_path):
    """A run of one's own, which was stopped after ten blocks."""
    out, seen = tmp_path / "made", []
    result = run(recipe(), out, seen.append, lambda: sum(isinstance(each, BlockDone) for each in seen) >= 10)
    assert result.stopped
    assert len(layout.note_files(out)) == 5
    return out


@pytest.fixture
def opened(monkeypatch):
    """The blocks that were opened before the first was drawn, by label and index."""
    found, real = [], Blocks.read

    def read(self, label, index, columns):
        found.append((label, index))
        return real(self, label, index, columns)

    monkeypatch.setattr(Blocks, "read", read)
    monkeypatch.setattr(Blocks, "withheld", lambda self, *place: pytest.fail(f"metadata of {place} were read"))
    return found


class DrawnError(Exception):
    pass


def until_it_draws(recipe_, out, opened, **options):
    """Which blocks a run reads before it draws; it ends there."""
    opened.clear()

    def listen(event):
        if isinstance(event, BlockDone) and event.drawn:
            raise DrawnError

    with pytest.raises(DrawnError):
        run(recipe_, out, listen, **options)
    return set(opened)


def test_what_was_noted_is_not_read_again(made, whole, opened):
    """The first block of a class is, since a threshold may come from it."""
    assert until_it_draws(recipe(), made, opened) == {(label, 0) for label in CLASSES}
    run(recipe(), made)
    assert_same(made, whole)


def test_without_filters_nothing_is_read(tmp_path, opened):
    out, seen = tmp_path / "run", []
    plain = recipe(filters=(), per_class=30)
    run(plain, out, seen.append, lambda: sum(isinstance(each, BlockDone) for each in seen) >= 10)
    assert until_it_draws(plain, out, opened) == set()
    run(plain, out)
    run(plain, tmp_path / "fresh")
    assert_same(out, tmp_path / "fresh")


def test_every_block_is_told_of_once_with_its_verdicts(made, whole):
    seen = []
    run(recipe(), made, seen.append)
    told = {label: {} for label in CLASSES}
    for event in (each for each in seen if isinstance(each, BlockDone)):
        assert event.index not in told[event.count.label]
        told[event.count.label][event.index] = event.verdicts
    for label in CLASSES:
        own = [each["reason"] for each in decisions(whole) if each["label"] == label]
        assert [reason for index in sorted(told[label]) for reason in told[label][index]] == own
    assert sorted(each.count.label for each in seen if isinstance(each, ClassDone)) == CLASSES


def test_every_write_may_be_the_last(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(noted, "BLOCKS", 1)
    out = tmp_path / "cut"
    assert cut_off(monkeypatch, 4, lambda: run(recipe(), out)) >= 6
    assert_same(out, whole)


@pytest.mark.parametrize("change", ["removed", "written again", "of another time"])
def test_a_block_that_is_not_what_it_was_is_read(made, whole, opened, change):
    path = layout.block_file(made, "beach", 1)
    data = path.read_bytes()
    path.unlink()
    if change == "written again":
        path.write_bytes(data)
    if change == "of another time":
        path.with_name("kept").write_bytes(data)
        path.with_name("kept").rename(path)
    read = until_it_draws(recipe(), made, opened)
    assert (("beach", 1) in read) is (change != "removed")
    assert ("river", 1) not in read
    run(recipe(), made)
    assert_same(made, whole)


def test_blocks_in_the_place_of_each_other_are_named(made):
    exchange(layout.block_file(made, "beach", 1), layout.block_file(made, "beach", 2))
    with pytest.raises(RunError, match=r"beach/0000[12]\.parquet holds other attempts than its place"):
        run(recipe(), made)


def test_a_block_that_is_drawn_again_is_decided_on_again(made, whole, opened):
    """A note that did not hold once is gone, whatever comes to lie in its place later."""
    path = layout.block_file(made, "beach", 1)
    kept = path.with_name("kept")
    path.rename(kept)
    until_it_draws(recipe(), made, opened)
    kept.replace(path)  # with the times that were noted
    notes = [each for file in layout.note_files(made).values() for each in noted.read_notes(file)[1]]
    assert not [each for each in notes if each.label == "beach" and each.first <= 1 < each.first + each.blocks]
    assert ("beach", 1) in until_it_draws(recipe(), made, opened)
    run(recipe(), made)
    assert_same(made, whole)


@pytest.mark.parametrize("other", [
    recipe(filters=(COLOUR | {"min_score": 20},)), recipe(filters=(COLOUR, SHARP)), recipe(filters=()),
])
def test_other_filters_decide_anew(made, tmp_path, other):
    run(other, made)
    run(other, tmp_path / "fresh")
    assert fingerprint(made / "data") == fingerprint(tmp_path / "fresh" / "data")
    assert list(verify(made)) == []


def test_a_filter_that_compares_with_earlier_images_sees_them(tmp_path, opened):
    two = recipe(filters=(COLOUR, {"kind": "duplicate", "max_similarity": 0.999}))
    out, seen = tmp_path / "run", []
    run(two, out, seen.append, lambda: sum(isinstance(each, BlockDone) for each in seen) >= 10)
    assert layout.note_files(out) == {}
    assert len(until_it_draws(two, out, opened)) == 10


def test_growing_and_giving_up_rows_are_what_they_are_without_notes(tmp_path, opened):
    out = tmp_path / "run"
    run(recipe(4), out)
    assert len(until_it_draws(recipe(9), out, opened)) < sum(1 for _ in out.rglob("blocks/*/*"))
    run(recipe(9), out)
    run(recipe(9), tmp_path / "fresh")
    assert_same(out, tmp_path / "fresh")
    for asked, shrink in ((5, False), (5, True), (9, False)):
        run(recipe(asked), out, shrink=shrink)
        assert list(verify(out)) == []
    assert fingerprint(out / "data") == fingerprint(tmp_path / "fresh" / "data")


def test_classes_that_are_done_end_when_they_are_taken_over(whole, tmp_path):
    out, seen = tmp_path / "run", []
    shutil.copytree(whole, out)
    run(recipe(filters=()), out)  # notes for no filters, of all blocks
    layout.block_file(out, "river", 2).unlink()
    (out / layout.FINISHED).unlink()
    run(recipe(filters=()), out, seen.append)
    assert sorted(each.count.label for each in seen if isinstance(each, ClassDone)) == CLASSES
    assert list(verify(out)) == []


@pytest.mark.parametrize("damage", ["cut", "another", "no record"])
def test_a_note_that_cannot_be_believed_is_named_and_not_used(made, whole, caplog, damage):
    path = layout.note_files(made)[1]
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "another":
        path.write_text(path.read_text().replace('"first": ', '"first": 1'))
    else:
        resealed(path, {"classes": [{"label": "beach"}]})
    run(recipe(), made)
    assert [each.message for each in caplog.records if f"{path} is not used (" in each.message]
    assert_same(made, whole)


def test_verify_names_notes_that_say_something_else(made):
    run(recipe(), made)
    looked = Verification()
    assert list(verify(made, into=looked)) == []
    assert looked.counts["notes of decisions"] == len(layout.note_files(made)) > 3
    damaged, other = list(layout.note_files(made).values())[:2]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    content = json.loads(other.read_text())["classes"]
    codes = np.frombuffer(bytes.fromhex(content[0]["codes"]), np.int8)
    content[0]["codes"] = np.where(codes == 0, 1, 0).astype(np.int8).tobytes().hex()
    resealed(other, {"classes": content})
    (layout.notes_folder(made) / "mine.txt").touch()
    faults = {fault.file: fault for fault in verify(made)}
    assert "cannot be believed" in faults[f"decided/{damaged.name}"].what
    attempt = content[0]["first"] * 3
    assert faults[f"decided/{other.name}"].what == (
        f"says of attempt {attempt} of class {content[0]['label']!r} what decisions.parquet does not")
    assert faults["decided/mine.txt"].what == "no file of this run"
    assert len(faults) == 3
    assert len(set_aside(made, faults.values())) == 3
    assert list(verify(made)) == []


def test_a_moved_run_is_read_once(made, tmp_path, opened):
    copy = shutil.copytree(made, tmp_path / "copy")
    assert len(until_it_draws(recipe(), copy, opened)) == 10
    drawn = {(path.parent.name, int(path.stem)) for path in set(layout.block_files(copy)) - {
        copy / path.relative_to(made) for path in layout.block_files(made)}}
    assert len(drawn) == 1  # on which was not decided
    assert until_it_draws(recipe(), copy, opened) == {(label, 0) for label in CLASSES} | drawn


# What is taken over, against what is decided.

EMPTY = np.zeros((40, 1), np.float32)


def decided_on(scores, withheld, blocks, size, per_class, most, kept, needs, taken=None, other=None):
    """A class after so many blocks, of which the first may be taken over from another."""
    chosen = {"quantile": 0.4, "calibrate_on": needs} if needs else {"min_score": 0.5}
    judges = [NamedJudge("alignment", "key", AlignmentFilter(**chosen).judge("a", None, None))]
    found = ClassDecisions("a", judges, per_class, most, kept)
    while found.blocks < blocks:
        if taken is not None and found.decided:
            codes, own = taken.coded(found.decided, other)
            shape = (other - found.decided, size)
            found.take_over(codes.reshape(shape), own.reshape(*shape, 1))
            taken = None
            continue
        part = slice(found.blocks * size, (found.blocks + 1) * size)
        measured = Measurements("embeddings", EMPTY[part], np.float32(scores[part]))
        found.decide(size, lambda key, measured=measured: measured,
                     [row for row in range(size) if withheld[part][row]])
    return found


@settings(deadline=None)
@given(data=st.data(), size=st.integers(1, 4), per_class=st.integers(1, 12), later=st.integers(1, 20),
       most=st.integers(7, 30), later_most=st.integers(7, 40), needs=st.sampled_from([0, 2, 7]),
       kept=st.none() | st.builds(KeptRows, rows=st.integers(1, 15), attempts=st.integers(1, 35)))
def test_what_is_taken_over_is_what_is_decided(data, size, per_class, later, most, later_most, needs, kept):
    """Under other targets, with what is kept, withheld images and thresholds from first attempts."""
    scores = data.draw(st.lists(st.sampled_from([0.1, 0.3, 0.6, 0.9]), min_size=40, max_size=40))
    withheld = data.draw(st.lists(st.sampled_from([False, False, False, True]), min_size=40, max_size=40))
    withheld[0] = False  # a threshold needs one that is shown
    before = decided_on(scores, withheld, 40 // size, size, per_class, most, None, needs)
    known = data.draw(st.integers(-(-max(needs, 1) // size) + 1, 40 // size))
    fresh = decided_on(scores, withheld, 40 // size, size, later, later_most, kept, needs)
    again = decided_on(scores, withheld, 40 // size, size, later, later_most, kept, needs, before, known)
    assert list(again) == list(fresh)
    assert (again.count, again.done, again.closed, again.missing) == (
        fresh.count, fresh.done, fresh.closed, fresh.missing)
    assert [again.verdicts(index) for index in range(again.blocks)] == [
        tuple(each.reason for each in fresh.block(index)) for index in range(fresh.blocks)]


def test_nothing_is_taken_over_that_says_what_no_decision_says():
    def fresh():
        found = ClassDecisions("a", [], 6, 8)
        found.decide(2, lambda key: pytest.fail("nothing is measured"))
        return found

    nothing = np.empty((2, 2, 0), np.float32)
    for codes, taken in (([0, 0, 0, 0], 2), ([0, 0, 0, 127], 2), ([0, 0, 0, 126], 1), ([0, 3, 0, 0], 0),
                         ([-1, -1, 0, 0], 0), ([0, 0, -2, -2], 1), ([0, -7, 0, 0], 0)):
        assert fresh().take_over(np.int8(codes).reshape(2, 2), nothing) == taken, codes
    assert judgement_of(np.int8([0, 1, 127, 126, -1, -2])).tolist() == [1, -1, -1, 0, 0, 0]


def test_a_judge_of_pairs_remembers_what_its_judge_does():
    class Remembers(ClassJudge):
        threshold = 0.5

        def begin(self, measurements):
            self.rows = len(measurements)

        def score(self, row):
            return 1.0

        def passes(self, score):
            return True

    class Counts(Remembers):
        remembers, count = False, 0

        def skip(self, rows):
            self.count += rows

    counts = Counts()
    assert (PairJudge(Remembers()).remembers, PairJudge(counts).remembers) == (True, False)
    PairJudge(counts).skip(3)
    assert counts.count == 3
