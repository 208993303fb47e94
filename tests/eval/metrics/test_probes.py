"""Stacked logistic regressions and k-NN, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from terrasynth.eval.metrics.neighbors import TEMPERATURE, neighbor_classes
from terrasynth.eval.metrics.probe import fit_probe
from terrasynth.eval.metrics.probes import fit_probes


def planted(rows=120, width=12, classes=4, seed=0):
    random = np.random.default_rng(seed)
    target = random.integers(classes, size=rows)
    centers = random.normal(size=(classes, width))
    return (centers[target] + random.normal(size=(rows, width))) * random.uniform(0.3, 5, width) + 2, target


def known(features, target, weights, penalty):
    """Logits by scikit-learn on features that are standardized by the weighted rows: C is 1 / penalty."""
    share = weights / weights.sum()
    mean = share @ features
    scale = np.sqrt(share @ (features - mean) ** 2)
    model = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000)
    model.fit((features - mean) / scale, target, sample_weight=share)
    return lambda asked: model.decision_function((asked - mean) / scale)


def logits(probes, asked, place=0):
    found = asked @ probes.weight[place] + probes.bias[place]
    return found - found.mean(1, keepdims=True)


@pytest.mark.parametrize("width", [6, 90])  # fewer and more features than rows
@pytest.mark.parametrize("penalty", [1.0, 0.02])
def test_weights_are_those_of_scikit_learn(width, penalty):
    features, target = planted(width=width)
    random = np.random.default_rng(1)
    rows = np.stack([random.choice(120, 60, replace=False) for _ in range(3)])
    weights = random.uniform(0.1, 3, rows.shape)
    found = fit_probes(features, rows, target, 4, penalty, weights)
    for place, own in enumerate(rows):
        expected = known(features[own], target[own], weights[place], penalty)(features)
        expected = expected - expected.mean(1, keepdims=True)
        np.testing.assert_allclose(logits(found, features, place), expected, atol=1e-3)


def test_single_precision_names_the_same_classes():
    features, target = planted(rows=400, width=30, seed=3)
    rows = np.arange(200).reshape(2, 100)
    double, single = (fit_probes(features.astype(dtype), rows, target, 4, 0.1) for dtype in (np.float64, np.float32))
    assert single.weight.dtype == np.float32
    assert (double.predict(features) == single.predict(features.astype(np.float32))).mean() > 0.99
    assert (double.predict(features)[:, 200:] == target[200:]).mean() > 0.8


def test_a_problem_is_solved_as_it_is_alone():
    features, target = planted()
    rows = np.random.default_rng(0).integers(120, size=(5, 50))
    together = fit_probes(features, rows, target, 4, 0.1)
    for place, own in enumerate(rows):
        alone = fit_probes(features, own[None], target, 4, 0.1)
        np.testing.assert_allclose(logits(together, features, place), logits(alone, features), atol=1e-4)


def test_a_weight_of_two_is_the_row_twice_and_one_of_zero_is_none():
    features, target = planted()
    rows = np.arange(60)[None]
    twice = fit_probes(features, np.concatenate([rows, rows[:, :20]], 1), target, 4, 0.1)
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)[None]
    np.testing.assert_allclose(logits(twice, features), logits(fit_probes(features, rows, target, 4, 0.1, weights),
                                                               features), atol=1e-4)
    without = fit_probes(features, rows[:, 20:], target, 4, 0.1)
    weights = np.where(np.arange(60) < 20, 0.0, 1.0)[None]
    np.testing.assert_allclose(logits(without, features), logits(fit_probes(features, rows, target, 4, 0.1, weights),
                                                                 features), atol=1e-4)


def test_it_is_the_single_probe_where_weights_are_equal():
    features, target = planted(classes=3)
    alone = fit_probe(features, [f"class {place}" for place in target], 0.05)
    expected = alone.logits(features)
    found = fit_probes(features, np.arange(120)[None], target, 3, 0.05)
    np.testing.assert_allclose(logits(found, features), expected - expected.mean(1, keepdims=True), atol=1e-3)


def test_a_class_without_rows_and_a_feature_without_spread_are_no_trouble():
    features, target = planted()
    features[:, 0] = 7.0
    rows = np.flatnonzero(target < 3)[None]
    found = fit_probes(features, rows, target, 4, 0.1)
    assert set(found.predict(features)[0]) == {0, 1, 2}
    assert np.isfinite(found.weight).all()


def test_what_cannot_be_fitted_is_refused():
    features, target = planted()
    with pytest.raises(ValueError, match=r"rows \(120,\)"):
        fit_probes(features, np.arange(120), target, 4, 0.1)
    with pytest.raises(ValueError, match="penalty 0: it has to be above 0"):
        fit_probes(features, np.arange(120)[None], target, 4, 0)


@pytest.mark.parametrize("k", [1, 4, 500])
def test_neighbors_vote_as_those_of_scikit_learn(k):
    features, target = planted(rows=200, width=8)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = unit[100:] @ unit[:100].T
    model = KNeighborsClassifier(min(k, 100), metric="cosine", algorithm="brute",
                                 weights=lambda distance: np.exp((1 - distance) / TEMPERATURE))
    expected = model.fit(unit[:100], target[:100]).predict(unit[100:])
    assert neighbor_classes(similarity, target[:100], 4, k).tolist() == expected.tolist()


def test_a_vote_counts_by_its_weight():
    similarity, target = np.array([[0.9, 0.88, 0.2]]), np.array([0, 1, 1])
    assert neighbor_classes(similarity, target, 2, 2)[0] == 0
    assert neighbor_classes(similarity, target, 2, 2, np.array([1.0, 1.5, 1.0]))[0] == 1  # 1.5 exp(-0.02 / 0.07) > 1
    assert neighbor_classes(similarity, target, 2, 2, np.array([1.0, 1.3, 1.0]))[0] == 0
    near = np.array([[0.95, 0.9, 0.88, 0.2]])
    for k in (1, 2, 3):  # one of hardly any weight takes no neighbor's place
        without = neighbor_classes(near[:, 1:], np.array([1, 2, 1]), 3, k)
        assert neighbor_classes(near, np.array([0, 1, 2, 1]), 3, k, np.array([1e-9, 1, 1, 1])) == without
        assert neighbor_classes(near, np.array([0, 1, 2, 1]), 3, k, np.array([0, 1, 1, 1])) == without
    with pytest.raises(ValueError, match="k 0"):
        neighbor_classes(similarity, target, 2, 0)
