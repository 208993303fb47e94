from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from eval.metrics import (
    OTHER_CLASSES,
    SAME_PICTURES,
    bootstrap_mean,
    derangement,
    per_class_accuracy,
    share,
    share_of,
)


def test_the_interval_is_that_of_the_normal_approximation():
    hits = np.arange(400) % 4 == 0
    figure = bootstrap_mean(hits, seed=0)
    half = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert (figure.value, figure.n) == (0.25, 400)
    assert figure.low == pytest.approx(0.25 - half, abs=0.008)
    assert figure.high == pytest.approx(0.25 + half, abs=0.008)
    assert figure == bootstrap_mean(hits, seed=0)


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean(np.empty(0), 0)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 10), (190, 210), (1, 1)])
def test_intervals_of_shares_are_wilsons(hits, n):
    expected = binomtest(hits, n).proportion_ci(0.95, "wilson")
    found = share(hits, n)
    assert (found.value, found.n) == (hits / n, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found == share_of(np.arange(n) < hits)


@pytest.mark.parametrize("hits", [np.ones(12, bool), np.zeros(12, bool)], ids=["all", "none"])
def test_a_share_of_all_or_none_has_an_interval_that_is_no_point(hits):
    assert share_of(hits).high - share_of(hits).low > 0.1


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_shares_are_refused(hits, n):
    with pytest.raises(ValueError, match="give at least one"):
        share(hits, n)


@given(labels=st.lists(st.sampled_from("abcd"), min_size=2, max_size=40), seed=st.integers(0, 99))
def test_nobody_meets_itself_and_no_class_its_own_where_possible(labels, seed):
    partner, kind = derangement(labels, seed)
    assert sorted(partner) == list(range(len(labels)))
    assert all(partner != np.arange(len(labels)))
    possible = max(labels.count(label) for label in labels) <= len(labels) // 2
    assert kind == (OTHER_CLASSES if possible else SAME_PICTURES)
    if possible:
        assert all(labels[i] != labels[j] for i, j in enumerate(partner))


def test_the_shuffle_depends_on_its_seed_only():
    labels = list("aabbccdd") * 4
    first, again, other = (derangement(labels, seed)[0] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert derangement(["a"], 0) is None


def test_accuracy_by_class():
    hits = np.array([True, False, True, True, True])
    assert per_class_accuracy(hits, ["b", "b", "a", "a", "b"]) == {"a": (1.0, 2), "b": (pytest.approx(2 / 3), 3)}
