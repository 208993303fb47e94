"""The linear probe: its optimum, its two solvers, and cross-validation."""

from itertools import product

import numpy as np
import pytest

from terrasynth.eval.metrics import probe as linear
from terrasynth.eval.metrics.probe import cross_validated, fit_probe


def blobs(n: int = 150, classes: int = 2, width: int = 6, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    centers = random.normal(size=(classes, width)) * 1.5
    features = (centers[labels] + random.normal(size=(n, width))) * random.uniform(0.1, 9, width) + 3
    return features, [f"class {label}" for label in labels]


def objective(probe: linear.Probe, features: np.ndarray, labels: list[str], penalty: float) -> float:
    logits = probe.logits(features)
    chosen = logits[np.arange(len(labels)), np.searchsorted(probe.labels, labels)]
    return float((np.logaddexp.reduce(logits, 1) - chosen).mean() + penalty / 2 * (probe.weight**2).sum())


@pytest.mark.parametrize("classes", [2, 3])
def test_no_change_of_the_weights_is_better(classes: int) -> None:
    features, labels = blobs(classes=classes)
    probe = fit_probe(features, labels, penalty=0.05)
    best = objective(probe, features, labels, 0.05)
    random = np.random.default_rng(1)
    for _ in range(20):
        other = linear.Probe(probe.labels, probe.weight + 0.02 * random.normal(size=probe.weight.shape),
                                 probe.bias + 0.02 * random.normal(size=probe.bias.shape), probe.mean, probe.scale)
        assert objective(other, features, labels, 0.05) > best


def test_both_solvers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs()
    newton = fit_probe(features, labels)
    monkeypatch.setattr(linear, "NEWTON_WIDTH", 0)
    other = fit_probe(features, labels)
    np.testing.assert_allclose(newton.weight, other.weight, atol=1e-4)
    np.testing.assert_allclose(np.diff(newton.bias), np.diff(other.bias), atol=1e-4)


def test_a_weight_of_two_is_the_row_twice() -> None:
    design = np.array(list(product((-1.0, 1.0), repeat=5)))  # of mean 0 and deviation 1, once or twice
    labels = np.random.default_rng(0).choice(["a", "b"], 64).tolist()
    twice = fit_probe(np.concatenate([design, design, design]), [*labels, *labels[32:]])
    weighted = fit_probe(np.concatenate([design, design]), labels, weights=np.repeat([1.0, 2.0], 32))
    np.testing.assert_allclose(twice.weight, weighted.weight, atol=1e-6)


def test_separable_rows_of_any_scale_are_all_right() -> None:
    features = np.array([[1e-6], [2e-6], [5e6], [6e6]])
    probe = fit_probe(features, ["low", "low", "high", "high"], penalty=1e-6)
    assert probe.predict(features).tolist() == ["low", "low", "high", "high"]


def test_cross_validation_is_at_chance_where_there_is_nothing_to_learn() -> None:
    random = np.random.default_rng(0)
    hits = [cross_validated(random.normal(size=(200, 5)), ["a", "b"] * 100, seed=seed).mean() for seed in range(10)]
    assert 0.42 < np.mean(hits) < 0.58
    features, labels = blobs(200)
    assert cross_validated(features, labels).mean() > 0.9


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="1 classes"):
        fit_probe(np.zeros((3, 2)), ["a", "a", "a"])
    with pytest.raises(ValueError, match="fewer than 5 folds"):
        cross_validated(np.zeros((9, 2)), ["a"] * 5 + ["b"] * 4)
