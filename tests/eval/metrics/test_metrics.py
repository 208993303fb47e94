from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from terrasynth.eval.metrics.figure import (
    COSINE,
    OTHER_CLASSES,
    SAME_PICTURES,
    STUDENT_95,
    _percentile,
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


SAMPLES = {
    "normal": (lambda g, size: g.normal(size=size), 0.0),
    "uniform": (lambda g, size: g.random(size), 0.5),
    "skewed": (lambda g, size: g.exponential(size=size), 1.0),
    "at both ends": (lambda g, size: g.beta(0.5, 0.5, size), 0.5),
    "near one": (lambda g, size: 1 - g.beta(0.8, 8, size), 1 - 0.8 / 8.8),
}


@pytest.mark.parametrize("n", [5, 10, 20, 29])
@pytest.mark.parametrize("kind", SAMPLES)
def test_intervals_of_few_values_hold_the_mean(kind, n):
    draw, mean = SAMPLES[kind]
    generator = np.random.default_rng(0)
    found = [bootstrap_mean(draw(generator, n), seed, 400) for seed in range(400)]
    held = np.mean([each.low <= mean <= each.high for each in found])
    assert held > (0.9 if n == 5 else 0.92)  # 400 samples: two standard errors are 0.02


def test_those_of_the_percentiles_hold_it_less_often():
    """Why there is another interval: this is what the percentiles of ten values hold."""
    generator = np.random.default_rng(0)
    held = []
    for _ in range(400):
        values = generator.exponential(size=10)
        low, high = _percentile(values, 0, 400)
        held.append(low <= 1 <= high)
    assert np.mean(held) < 0.88


def test_students_quantiles_are_those_of_scipy():
    assert np.allclose(STUDENT_95, t.ppf(0.975, np.arange(1, 29)), rtol=0, atol=6e-5)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_of_fewest_values_it_is_students(n):
    values = np.random.default_rng(n).normal(size=n)
    low, high = t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / np.sqrt(n))
    found = bootstrap_mean(values, 0)
    assert (found.low, found.high, found.n) == pytest.approx((low, high, n), rel=1e-4)


@pytest.mark.parametrize("values", [[0.9, 0.1, -0.6], [0.95, 0.99, 0.7]])
def test_no_interval_of_a_cosine_holds_what_no_cosine_is(values):
    cosines = np.array(values)
    free, bound = bootstrap_mean(cosines, 0), bootstrap_mean(cosines, 0, bounds=COSINE)
    assert free.low < -1 or free.high > 1  # Student's of three
    assert (bound.value, bound.low, bound.high) == (free.value, max(free.low, -1.0), min(free.high, 1.0))


@pytest.mark.parametrize("groups", [3, 5, 40])
@pytest.mark.parametrize("one", [0, 1])
def test_an_interval_of_a_share_is_one_of_shares(groups, one):
    """Where texts repeat, resampled whole texts would reach beyond what a share can be."""
    texts = np.arange(2 * groups) % groups
    hits = np.full(len(texts), 1 - one)
    hits[texts == 0] = one
    hits[-1] = 1 - one
    found = bootstrap_mean(hits, 0, groups=[str(text) for text in texts])
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_single_value_and_equal_ones_are_a_point():
    assert bootstrap_mean(np.array([0.3]), 0).low == bootstrap_mean(np.array([0.3]), 0).high == 0.3
    assert bootstrap_mean(np.full(8, 0.3), 0).high == pytest.approx(0.3)


@pytest.mark.parametrize("n", [12, 60])
@pytest.mark.parametrize("value", [True, False])
def test_answers_that_are_all_equal_have_an_interval_that_is_no_point(n, value):
    found = bootstrap_mean(np.full(n, value), 0)
    assert (found.low, found.high) == (share(n * value, n).low, share(n * value, n).high)


class TestGroups:
    def test_where_each_is_its_own_nothing_changes(self):
        values = np.random.default_rng(0).normal(size=50)
        assert bootstrap_mean(values, 3, groups=list(range(50))) == bootstrap_mean(values, 3)

    def test_copies_of_a_value_are_no_more_than_the_value(self):
        values = np.random.default_rng(0).normal(size=12)
        one, five = bootstrap_mean(values, 3), bootstrap_mean(np.repeat(values, 5), 3, groups=np.repeat(range(12), 5))
        assert (five.value, five.low, five.high, five.n) == pytest.approx((one.value, one.low, one.high, 60))

    @pytest.mark.parametrize("groups", [8, 40])
    def test_the_interval_holds_the_mean(self, groups):
        generator = np.random.default_rng(0)
        held, alone = [], []
        for seed in range(300):
            sizes = generator.integers(1, 7, groups)
            keys = np.repeat(np.arange(groups), sizes)
            values = generator.normal(size=groups)[keys] + 0.3 * generator.normal(size=len(keys))
            found, naive = bootstrap_mean(values, seed, 400, groups=keys), bootstrap_mean(values, seed, 400)
            held.append(found.low <= 0 <= found.high)
            alone.append(naive.low <= 0 <= naive.high)
        assert np.mean(held) > 0.87  # 300 samples: two standard errors are 0.025
        assert np.mean(alone) < 0.8

    def test_keys_for_other_values_are_refused(self):
        with pytest.raises(ValueError, match="3 values with 2 keys"):
            bootstrap_mean(np.arange(3), 0, groups=["a", "b"])
