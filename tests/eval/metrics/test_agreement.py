"""Cohen's kappa against published examples, scikit-learn, and what its interval holds."""

import numpy as np
import pytest

from terrasynth.eval.metrics.agreement import MISSING, agreement_table, cohen_kappa, mean_kappa
from terrasynth.eval.metrics.figure import Figure, wilson

# SAS/STAT user's guide, PROC FREQ, "Agreement Study": two dermatologists, 88 patients, four degrees.
# Printed there: kappa 0.3449, ASE 0.0724, 95 % limits 0.2030 and 0.4868.
SKIN = [[10, 4, 1, 0], [5, 10, 12, 2], [2, 4, 12, 5], [0, 2, 6, 13]]
# Fleiss, Levin & Paik 2003, table 18.1: 100 patients, three diagnoses; kappa 0.68 there.
DIAGNOSES = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]


def test_published_examples():
    found = cohen_kappa(SKIN)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4), found.n) == (0.3449, 0.2030, 0.4868, 88)
    assert round(cohen_kappa(DIAGNOSES).value, 2) == 0.68


def test_value_as_scikit_learn_has_it():
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    for categories in (2, 3, 5):
        one = generator.integers(0, categories, 40)
        other = np.where(generator.random(40) < 0.6, one, generator.integers(0, categories, 40))
        found = cohen_kappa(agreement_table(one, other, categories))
        assert found.value == pytest.approx(metrics.cohen_kappa_score(one, other), abs=1e-12)


def test_chance_gives_nothing_and_reversal_less_than_nothing():
    assert cohen_kappa([[25, 25], [25, 25]]).value == pytest.approx(0)
    assert cohen_kappa([[0, 20], [20, 0]]).value == pytest.approx(-1)


def test_a_few_images_that_all_agree_are_no_certainty():
    found = cohen_kappa([[3, 0], [0, 3]])
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx((wilson(1, 6)[0] - 0.5) / 0.5)
    assert mean_kappa([[0] * 3, [1] * 3] * 3).low == pytest.approx(found.low)


def test_one_category_alone_has_no_kappa():
    assert cohen_kappa([[7, 0], [0, 0]]) is None
    assert mean_kappa([[1, 1, 1], [1, 1, 1]]) is None
    assert mean_kappa([[1, MISSING], [MISSING, 0]]) is None


def test_one_who_always_says_the_same_has_no_kappa():
    assert cohen_kappa([[5, 1], [0, 0]]) is None
    assert cohen_kappa([[5, 0], [1, 0]]) is None
    assert mean_kappa([[1, 1], [1, 0], [1, 1]]) is None
    others = [[1, 0], [0, 0], [1, 1], [0, 0]]
    assert mean_kappa([[*each, 1] for each in others]).value == mean_kappa(others).value == 0.5


def test_nothing_has_no_sign():
    assert str(Figure(-0.0, -0.0004, 0.0, 6)) == "0.000 [0.000, 0.000] (n = 6)"
    assert str(Figure(-0.0006, -1.0, 1.0, 6)) == "-0.001 [-1.000, 1.000] (n = 6)"


@pytest.mark.parametrize("table", [[[0, 0], [0, 0]], [[1, 2]], [[1, -1], [0, 1]]])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(ValueError, match="give counts"):
        cohen_kappa(table)


def test_two_of_several_raters_are_two_raters():
    generator = np.random.default_rng(1)
    ratings = generator.integers(0, 2, (30, 2))
    assert mean_kappa(ratings) == cohen_kappa(agreement_table(*ratings.T))


def test_the_mean_of_pairs_leaves_out_what_was_not_rated():
    ratings = np.array([[0, 0, 1], [1, 1, 1], [0, 1, MISSING], [1, 1, 0], [0, 0, 0], [1, MISSING, MISSING]])
    pairs = [cohen_kappa(agreement_table(ratings[:, a], ratings[:, b])).value for a, b in ((0, 1), (0, 2), (1, 2))]
    found = mean_kappa(ratings)
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.n == 5


@pytest.mark.parametrize("raters", [2, 3])
def test_interval_holds_the_true_kappa(raters):
    """Raters who see the truth with probability s, and else toss a coin: kappa of any two is s * s."""
    generator, sees, held = np.random.default_rng(2), 0.8, 0
    for _ in range(400):
        truth = generator.integers(0, 2, (60, 1))
        seen = generator.random((60, raters)) < sees
        ratings = np.where(seen, truth, generator.integers(0, 2, (60, raters)))
        found = mean_kappa(ratings)
        held += found.low <= sees**2 <= found.high
    assert held / 400 > 0.92
