"""Decisions on made-up measurements, where the right answer is known."""

from pathlib import Path

import numpy as np
import pytest

from synthesis.decisions import ClassDecisions, NamedJudge
from synthesis.filters import AlignmentFilter, ClassJudge, DuplicateFilter, Measurements


def decide(alignment, embeddings, block, per_class, max_attempts, tmp_path, min_score=0.5, max_similarity=0.9):
    filters = [AlignmentFilter(min_score=min_score), DuplicateFilter(max_similarity=max_similarity)]
    judges = [NamedJudge(each.kind, "key", each.judge("beach", None, tmp_path)) for each in filters]
    decided = ClassDecisions("beach", judges, per_class, max_attempts)
    for start in range(0, len(alignment), block):
        part = slice(start, start + block)
        measured = Measurements(np.float32(alignment[part]), np.float32(embeddings[part]))
        decided.decide(len(measured.alignment), lambda key, measured=measured: measured)
    return decided


EAST, NORTH, UP = np.eye(3)


@pytest.mark.parametrize("block", [1, 2, 3, 6])
def test_first_failed_filter_is_the_reason_whatever_the_block(tmp_path, block):
    decided = decide([0.9, 0.1, 0.9, 0.1, 0.9, 0.9], [EAST, NORTH, EAST, EAST, NORTH, UP], block, 10, 6, tmp_path)
    assert [each.reason for each in decided] == [None, "alignment", "duplicate", "alignment", None, None]
    assert [each.scores["duplicate"] for each in decided] == [None, 0, 1, 1, 0, 0]
    assert decided.count.accepted == 3


def test_duplicates_of_rejected_pictures_are_welcome(tmp_path):
    decided = decide([0.1, 0.9], [EAST, EAST], 2, 10, 2, tmp_path)
    assert [each.accepted for each in decided] == [False, True]


@pytest.mark.parametrize("block", [1, 2, 4])
def test_class_ends_at_its_target_and_at_its_last_attempt(tmp_path, block):
    rows = np.eye(4)
    beyond = decide([0.9] * 4, rows, block, 2, 4, tmp_path)
    assert [each.reason for each in beyond] == [None, None, "beyond_target", "beyond_target"]
    assert beyond.count.attempted == 2
    last = decide([0.9, 0.1, 0.1, 0.9], rows, block, 2, 3, tmp_path)
    assert [each.reason for each in last] == [None, "alignment", "alignment", "beyond_max_attempts"]
    assert (last.count.accepted, last.done) == (1, True)


def test_duplicates_are_found_across_many_blocks(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    decided = decide([1.0] * 300, rows, 7, 300, 300, tmp_path, max_similarity=0.5)
    kept: list[np.ndarray] = []
    for row, decision in zip(np.float32(rows).astype(float), decided, strict=True):
        closest = max((float(row @ other) for other in kept), default=None)
        assert decision.accepted == (closest is None or round(closest, 6) <= 0.5)
        if decision.accepted:
            kept.append(row)
    assert 5 < len(kept) < 295


def test_scores_are_given_by_outcome(tmp_path):
    decided = decide([0.9, 0.1, 0.8, 0.7], np.eye(4), 2, 2, 4, tmp_path)
    accepted, rejected = decided.scores("alignment")
    assert accepted.tolist() == pytest.approx([0.9, 0.8])
    assert rejected.tolist() == pytest.approx([0.1])
    assert decided.thresholds == {"alignment": 0.5, "duplicate": 0.9}


BLOCK, BLOCKS = 4, 10


class Plain(DuplicateFilter):
    """The same filter, whose judge is told of earlier pictures as of any others."""

    def judge(self, label, model, scratch):
        judge = super().judge(label, model, scratch)
        judge.recall = lambda accepted: ClassJudge.recall(judge, accepted)
        return judge


class Stored:
    """Made-up blocks of one class, and which of them are read."""

    def __init__(self, changed=None):
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(BLOCK * BLOCKS, 4))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        alignment = rng.uniform(0, 1, len(rows))
        if changed is not None:
            rows[changed * BLOCK : (changed + 1) * BLOCK] *= -1
        self.all = Measurements(np.float32(alignment), np.float32(rows))
        self.read = []

    def __call__(self, index, key):
        self.read.append(index)
        return self.all.rows(index * BLOCK, (index + 1) * BLOCK)


def fresh(per_class, scratch, kind=DuplicateFilter):
    filters = [AlignmentFilter(min_score=0.5), kind(max_similarity=0.8)]
    judges = [NamedJudge(each.kind, "key", each.judge("beach", None, Path(scratch))) for each in filters]
    return ClassDecisions("beach", judges, per_class, BLOCK * BLOCKS - 2)


def decide_all(decided, stored, notes=(), known=()):
    """Take over the noted blocks that are `known`, where that is possible, and decide on the others."""
    for index in range(BLOCKS):
        if index not in known or not decided.take_over(notes[index], stored):
            decided.decide(BLOCK, lambda key, index=index: stored(index, key))
    return decided


@pytest.mark.parametrize("kind", [DuplicateFilter, Plain])
@pytest.mark.parametrize("known", [range(3), range(9), range(10), (0, 1, 3, 4, 7), (5,)], ids=str)
@pytest.mark.parametrize("per_class", [3, 9, 100])
def test_what_is_taken_over_is_remembered(tmp_path, per_class, known, kind):
    stored = Stored()
    whole = decide_all(fresh(per_class, tmp_path), stored)
    notes = [whole.decided_block(index) for index in range(BLOCKS)]
    again = decide_all(fresh(per_class, tmp_path, kind), stored, notes, known)
    assert list(again) == list(whole)
    assert again.count == whole.count
    assert [again.decided_block(index).after for index in range(BLOCKS)] == [each.after for each in notes]
    assert per_class == 3 or {each.reason for each in whole} >= {None, "alignment", "duplicate"}


def test_nothing_is_read_where_nothing_is_left_to_judge(tmp_path):
    whole = decide_all(fresh(9, tmp_path), Stored())
    notes = [whole.decided_block(index) for index in range(BLOCKS)]
    stored = Stored()
    assert list(decide_all(fresh(9, tmp_path), stored, notes, range(BLOCKS))) == list(whole)
    assert stored.read == []


@pytest.mark.parametrize("changed", [0, 2])
def test_blocks_that_were_judged_under_another_memory_are_not_taken_over(tmp_path, changed):
    before = decide_all(fresh(100, tmp_path), Stored())
    notes = [before.decided_block(index) for index in range(BLOCKS)]
    stored, known = Stored(changed), set(range(BLOCKS)) - {changed}
    again = decide_all(fresh(100, tmp_path), stored, notes, known)
    whole = decide_all(fresh(100, tmp_path), Stored(changed))
    assert list(again) == list(whole)
    assert list(whole)[BLOCK * (changed + 1) :] != list(before)[BLOCK * (changed + 1) :]
    assert set(range(changed)) <= set(stored.read), "what came before is remembered"


def test_a_larger_target_goes_on_from_what_was_taken_over(tmp_path):
    small = decide_all(fresh(3, tmp_path), Stored())
    notes = [small.decided_block(index) for index in range(BLOCKS)]
    again = decide_all(fresh(9, tmp_path), Stored(), notes, range(BLOCKS))
    assert list(again) == list(decide_all(fresh(9, tmp_path), Stored()))
