"""Decisions on made-up measurements, where the right answer is known."""

import tracemalloc

import numpy as np
import pytest

import terrasynth.synthesis.filters.duplicate
from terrasynth.synthesis.filters import AlignmentFilter, DuplicateFilter, Measurements
from terrasynth.synthesis.filters.base import NamedJudge
from terrasynth.synthesis.ledger.decisions import ClassDecisions


def decide(alignment, embeddings, block, per_class, max_attempts, tmp_path, min_score=0.5, max_similarity=0.9):
    filters = [AlignmentFilter(min_score=min_score), DuplicateFilter(max_similarity=max_similarity)]
    judges = [NamedJudge(each.kind, "key", each.judge("beach", None, tmp_path)) for each in filters]
    decided = ClassDecisions("beach", judges, per_class, max_attempts)
    for start in range(0, len(alignment), block):
        part = slice(start, start + block)
        measured = Measurements("embeddings", np.float32(embeddings[part]), np.float32(alignment[part]))
        decided.decide(len(measured), lambda key, measured=measured: measured)
    return decided


EAST, NORTH, UP = np.eye(3)


@pytest.mark.parametrize("block", [1, 2, 3, 6])
def test_first_failed_filter_is_the_reason_whatever_the_block(tmp_path, block):
    decided = decide([0.9, 0.1, 0.9, 0.1, 0.9, 0.9], [EAST, NORTH, EAST, EAST, NORTH, UP], block, 10, 6, tmp_path)
    assert [each.reason for each in decided] == [None, "alignment", "duplicate", "alignment", None, None]
    assert [each.scores["duplicate"] for each in decided] == [None, 0, 1, 1, 0, 0]
    assert decided.count.accepted == 3
    assert decided.nearest == {"alignment": (pytest.approx(0.1), 0.5), "duplicate": (1, 0.9)}


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


@pytest.mark.parametrize("rows_a_chunk", [1, 2, 1000])
def test_duplicates_are_found_across_many_chunks_of_many_classes(tmp_path, monkeypatch, rows_a_chunk):
    """Every accepted picture of a class is compared with, and none of another class, wherever they are kept."""

    monkeypatch.setattr(terrasynth.synthesis.filters.duplicate, "CHUNK_BYTES", rows_a_chunk * 8 * 4)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(24, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    judges = {label: DuplicateFilter(max_similarity=0.99).judge(label, None, tmp_path) for label in "ab"}
    for start in range(0, 24, 4):
        for label, sign in (("a", 1), ("b", -1)):
            block = (sign * rows[start : start + 4]).astype(np.float32)
            judges[label].begin(Measurements("embeddings", block))
            for row in range(4):
                assert judges[label].passes(judges[label].score(row))
                judges[label].keep(row)
    for label, sign in (("a", 1), ("b", -1)):
        again = (sign * rows).astype(np.float32)
        judges[label].begin(Measurements("embeddings", again))
        assert [judges[label].score(row) for row in range(24)] == pytest.approx([1.0] * 24, abs=1e-5)
        judges[label].begin(Measurements("embeddings", -again))
        assert all(judges[label].passes(judges[label].score(row)) for row in range(24))


def test_columns_and_reasons_are_those_of_the_single_decisions(tmp_path):
    decided = decide([0.9, 0.1, 0.9, 0.1, 0.9, 0.9], [EAST, NORTH, EAST, EAST, NORTH, UP], 2, 2, 6, tmp_path)
    accepted, reasons, scores = decided.columns(["duplicate", "scene", "alignment"])
    each = list(decided)
    assert accepted == [one.accepted for one in each] == [True, False, False, False, True, False]
    assert reasons == [one.reason for one in each] == [None, "alignment", "duplicate", "alignment", None,
                                                       "beyond_target"]
    for name in ("duplicate", "alignment"):
        known = [None if np.isnan(score) else score for score in scores[name].tolist()]
        assert known == [one.scores[name] for one in each]
    assert np.isnan(scores["scene"]).all()
    assert decided.reasons == {None: 2, "alignment": 2, "duplicate": 1, "beyond_target": 1}


def test_what_waits_for_a_threshold_is_undecided_in_columns_too(tmp_path):
    settings = AlignmentFilter(quantile=0.5, calibrate_on=4)
    decided = ClassDecisions("beach", [NamedJudge("alignment", "key", settings.judge("beach", None, tmp_path))], 9, 9)
    decided.decide(3, lambda key: Measurements("embeddings", np.zeros((3, 1), np.float32), np.ones(3, np.float32)))
    accepted, reasons, scores = decided.columns(["alignment"])
    assert (accepted, reasons, len(scores["alignment"])) == ([False] * 3, ["undecided"] * 3, 3)
    assert decided.reasons == {"undecided": 3}
    assert [one.k for one in decided.block(0)] == [0, 1, 2]


def test_a_decision_of_two_filters_takes_ten_bytes(tmp_path):
    filters = [AlignmentFilter(min_score=0.5), AlignmentFilter(min_score=0.2)]
    judges = [NamedJudge(f"alignment{place}", "key", each.judge("beach", None, tmp_path))
              for place, each in enumerate(filters)]
    decided = ClassDecisions("beach", judges, 10**6, 10**6)
    measured = Measurements("embeddings", np.zeros((16, 1), np.float32), np.linspace(0, 1, 16, dtype=np.float32))

    def more(blocks):
        for _ in range(blocks):
            decided.decide(16, lambda key: measured)

    more(100)
    tracemalloc.start()
    try:
        more(4000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A code and two scores an attempt, a place a block; arrays grow by an eighth beyond what they hold.
    assert 9 * 16 * 4000 < kept < 10.5 * 16 * 4000
