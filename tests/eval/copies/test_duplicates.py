from __future__ import annotations

import numpy as np
import pytest

from terrasynth.eval.copies.duplicates import max_similarity_before


def unit(n, dim, seed):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_agrees_with_the_definition_row_by_row(chunk):
    rows, before = unit(10, 5, 0), unit(7, 5, 1)
    history = np.concatenate([before, rows])
    expected = [max(history[: 7 + i] @ rows[i]) for i in range(10)]
    np.testing.assert_allclose(max_similarity_before(rows, before, chunk), expected, atol=1e-6)


def test_the_first_of_all_has_nothing_before_it():
    rows = unit(3, 4, 2)
    similarity = max_similarity_before(np.concatenate([rows, rows[:1]]))
    assert similarity[0] == -np.inf
    assert similarity[3] == pytest.approx(1, abs=1e-6)


def test_what_comes_later_changes_nothing():
    rows = unit(9, 4, 3)
    np.testing.assert_array_equal(max_similarity_before(rows)[:5], max_similarity_before(rows[:5]))


def test_embeddings_of_two_encoders_are_refused():
    with pytest.raises(ValueError, match="width 4 and 5: use one encoder"):
        max_similarity_before(unit(2, 4, 0), unit(2, 5, 0))
