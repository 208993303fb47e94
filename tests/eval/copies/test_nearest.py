import sys

import numpy as np
import pytest

import terrasynth.eval.copies.nearest
from terrasynth.eval.copies.nearest import nearest_by_bits, nearest_by_cosine
from terrasynth.eval.errors import InputError


def _features(n, seed, width=16, centres=None):
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(n, width))
    if centres is not None:
        noise = 0.5 * noise + centres[generator.integers(len(centres), size=n)]
    return noise.astype(np.float32)


def _naive(queries, candidates, itself):
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (queries, candidates)]
    away = 1 - unit[0] @ unit[1].T
    if itself:
        np.fill_diagonal(away, np.inf)
    return away


@pytest.mark.parametrize("itself", [False, True])
def test_cosine_is_that_of_all_pairs(itself):
    queries = _features(30, 0)
    candidates = queries if itself else _features(50, 1)
    found = nearest_by_cosine(queries, candidates, 3, itself=itself)
    away = _naive(queries, candidates, itself)
    assert (found.index == np.argsort(away, axis=1)[:, :3]).all()
    assert np.allclose(found.distance, np.sort(away, axis=1)[:, :3], atol=1e-6)
    assert found.exact


def test_bits_are_counted():
    generator = np.random.default_rng(0)
    queries, candidates = (generator.integers(256, size=(n, 8), dtype=np.uint8) for n in (20, 40))
    differing = np.unpackbits(queries[:, None] ^ candidates[None], axis=2).sum(2)
    found = nearest_by_bits(queries, candidates)
    assert (found.distance[:, 0] == differing.min(1)).all()
    assert (found.index[:, 0] == differing.argmin(1)).all()


def test_the_size_of_a_block_changes_nothing(monkeypatch):
    codes = np.random.default_rng(1).integers(4, size=(90, 1), dtype=np.uint8)  # many are equal
    whole = nearest_by_bits(codes, codes, 2, itself=True)
    monkeypatch.setattr(terrasynth.eval.copies.nearest, "CHUNK", 7)
    blocks = nearest_by_bits(codes, codes, 2, itself=True)
    assert (whole.index == blocks.index).all()
    assert (whole.distance == blocks.distance).all()
    assert (whole.index != np.arange(90)[:, None]).all()


def test_the_index_finds_what_the_exact_search_finds():
    pytest.importorskip("usearch")
    centres = _features(40, 9)
    queries, candidates = _features(300, 2, centres=centres), _features(4000, 3, centres=centres)
    exact = nearest_by_cosine(queries, candidates, 5)
    found = nearest_by_cosine(queries, candidates, 5, approximate=True)
    assert not found.exact
    recall = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found.index, exact.index, strict=True)])
    assert recall > 0.98
    again = nearest_by_cosine(queries, candidates, 5, approximate=True)
    assert (again.index == found.index).all()


def test_the_index_counts_bits_and_leaves_a_row_out_of_its_own_neighbours():
    pytest.importorskip("usearch")
    codes = np.random.default_rng(3).integers(256, size=(2000, 8), dtype=np.uint8)
    codes[1000:1010] = codes[:10]
    exact, found = (nearest_by_bits(codes, codes, itself=True, approximate=way) for way in (False, True))
    assert (found.distance[:10] == 0).all()
    assert (found.index != np.arange(2000)[:, None]).all()
    assert (found.distance == exact.distance).mean() > 0.98


def test_many_candidates_ask_the_index(monkeypatch):
    pytest.importorskip("usearch")
    monkeypatch.setattr(terrasynth.eval.copies.nearest, "EXACT_BELOW", 50)
    assert nearest_by_cosine(_features(3, 0), _features(49, 1)).exact
    assert not nearest_by_cosine(_features(3, 0), _features(50, 1)).exact


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(InputError, match=r"compare fewer, or .*'\.\[index\]'"):
        nearest_by_cosine(_features(3, 0), _features(9, 1), approximate=True)


def test_what_does_not_compare_is_refused():
    with pytest.raises(ValueError, match="one encoder"):
        nearest_by_cosine(_features(3, 0), _features(3, 0, width=8))
    with pytest.raises(ValueError, match="3 neighbours among 2 candidates"):
        nearest_by_cosine(_features(3, 0), _features(3, 0), 3, itself=True)
