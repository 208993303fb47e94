"""Figures of diversity: in closed form, and against the definition written out."""

import numpy as np
import pytest
from vendi_score import vendi

from terrasynth.eval.metrics.diversity import mean_distance_within, mean_pairwise_distance, vendi_score

FEATURES = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)


def by_definition(features):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    kernel = np.array([[float(a @ b) for b in unit] for a in unit])
    eigenvalues = np.linalg.eigvals(kernel / len(unit)).real
    entropy = -sum(value * np.log(value) for value in eigenvalues if value > 1e-12)
    distances = [1 - kernel[i, j] for i in range(len(unit)) for j in range(len(unit)) if i != j]
    return np.exp(entropy), np.mean(distances)


@pytest.mark.parametrize("features", [FEATURES, FEATURES[:5], 3 * FEATURES[:7]])
def test_they_are_what_their_definitions_say(features):
    vendi, distance = by_definition(features)
    assert vendi_score(features) == pytest.approx(vendi, rel=1e-4)
    assert mean_pairwise_distance(features) == pytest.approx(distance, rel=1e-4)


@pytest.mark.parametrize("n", [5, 40])
def test_the_vendi_score_is_that_of_its_authors(n):
    unit = FEATURES[:n].astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert vendi_score(FEATURES[:n]) == pytest.approx(vendi.score_K(unit @ unit.T), rel=1e-4)
    assert vendi_score(FEATURES[:n]) == pytest.approx(vendi.score_dual(unit), rel=1e-4)


def test_equal_pictures_count_once_and_orthogonal_ones_each():
    assert vendi_score(np.tile(FEATURES[:1], (9, 1))) == pytest.approx(1, abs=1e-6)
    assert vendi_score(np.repeat(np.eye(6), 4, axis=0)) == pytest.approx(6)
    assert mean_pairwise_distance(np.tile(FEATURES[:1], (9, 1))) == pytest.approx(0, abs=1e-6)
    assert mean_pairwise_distance(np.eye(6)) == pytest.approx(1)


def test_order_and_length_do_not_matter():
    order = np.random.default_rng(1).permutation(len(FEATURES))
    scaled = FEATURES * np.linspace(1, 5, len(FEATURES), dtype=np.float32)[:, None]
    assert vendi_score(scaled[order]) == pytest.approx(vendi_score(FEATURES), rel=1e-5)
    assert mean_pairwise_distance(scaled[order]) == pytest.approx(mean_pairwise_distance(FEATURES), rel=1e-5)


def test_within_classes_is_the_mean_over_classes_that_have_two():
    labels = ["a"] * 10 + ["b"] * 29 + ["alone"]
    expected = (mean_pairwise_distance(FEATURES[:10]) + mean_pairwise_distance(FEATURES[10:39])) / 2
    assert mean_distance_within(FEATURES, labels) == pytest.approx(expected)
    with pytest.raises(ValueError, match="a class of two"):
        mean_distance_within(FEATURES[:2], ["a", "b"])


def test_what_has_no_diversity_is_refused():
    with pytest.raises(ValueError, match="N of 1 or more"):
        vendi_score(FEATURES[:0])
    with pytest.raises(ValueError, match="two of them"):
        mean_pairwise_distance(FEATURES[:1])
    with pytest.raises(ValueError, match="length zero"):
        vendi_score(np.zeros((2, 3)))
