from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from eval import FeatureStatistics, frechet_distance, frechet_floor


def correlated(n, dim, seed, shift=0.0):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, (n, dim)) @ generator.normal(0, 1, (dim, dim))


def whitened(n, dim, seed):
    """A sample whose mean is exactly 0 and whose covariance is exactly the identity."""
    values = np.random.default_rng(seed).normal(size=(n, dim))
    values -= values.mean(0)
    return values @ np.linalg.inv(np.linalg.cholesky(np.cov(values.T))).T


def test_moments_are_those_of_numpy():
    features = correlated(50, 6, 0, 3.0)
    statistics = FeatureStatistics.of(features)
    np.testing.assert_allclose(statistics.mean, features.mean(0))
    np.testing.assert_allclose(statistics.covariance, np.cov(features.T))


@given(cuts=st.lists(st.integers(0, 40), max_size=5), offset=st.sampled_from([0.0, 1e4]))
def test_streaming_and_merging_give_the_whole(cuts, offset):
    features = correlated(40, 4, 1) + offset
    parts = np.split(features, sorted(cuts))
    streamed = FeatureStatistics(4)
    for part in parts:
        streamed.update(part)
    merged = FeatureStatistics(4)
    for part in reversed(parts):
        merged = merged.merge(FeatureStatistics.of(part))
    for statistics in (streamed, merged):
        assert statistics.n == 40
        np.testing.assert_allclose(statistics.mean, features.mean(0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(statistics.covariance, np.cov(features.T), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n", [200, 12], ids=["full rank", "fewer samples than features"])
def test_agrees_with_the_matrix_square_root_of_scipy(n):
    a, b = correlated(n, 16, 2), correlated(n + 5, 16, 3, 0.5)
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T))
    difference = a.mean(0) - b.mean(0)
    expected = difference @ difference + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root.real)
    assert frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b)) == pytest.approx(expected, rel=1e-4)


def test_closed_form_of_axis_aligned_gaussians():
    base = whitened(64, 5, 4)
    scale, shift = np.array([1.0, 2.0, 0.5, 3.0, 0.0]), np.array([0.0, 1.0, -2.0, 0.0, 0.5])
    distance = frechet_distance(FeatureStatistics.of(base), FeatureStatistics.of(base * scale + shift))
    assert distance == pytest.approx(np.sum(shift**2) + np.sum((scale - 1) ** 2), rel=1e-6)


def test_it_is_symmetric_zero_on_itself_and_blind_to_rotation():
    a, b = correlated(80, 8, 5), correlated(90, 8, 6, 1.0)
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(8, 8)))[0]
    pairs = ((a, b), (b, a), (a @ turn, b @ turn))
    forth, back, turned = (frechet_distance(FeatureStatistics.of(x), FeatureStatistics.of(y)) for x, y in pairs)
    assert forth == pytest.approx(back, rel=1e-8)
    assert forth == pytest.approx(turned, rel=1e-8)
    itself = frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(a))
    assert 0 <= itself < 1e-6 * np.trace(np.cov(a.T))


def test_the_floor_is_repeatable_positive_and_falls_with_the_sample():
    features = correlated(600, 6, 8)
    floor = frechet_floor(features, seed=3)
    assert floor == frechet_floor(features, seed=3)
    assert floor != frechet_floor(features, seed=4)
    assert (floor.n, floor.seed) == (300, 3)
    assert 0 < floor.low <= floor.mean <= floor.high
    assert floor.high < frechet_floor(features, seed=3, n=20).low


def test_a_floor_lies_below_a_real_difference():
    a, b = correlated(300, 6, 9), correlated(300, 6, 10)
    assert frechet_floor(a, 0).high < frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))


def test_what_cannot_be_compared_is_named():
    a, b = FeatureStatistics.of(correlated(5, 3, 0)), FeatureStatistics.of(correlated(5, 4, 0))
    with pytest.raises(ValueError, match="width 3 and 4 do not compare"):
        frechet_distance(a, b)
    with pytest.raises(ValueError, match="width 3 and 4 do not merge"):
        a.merge(b)
    with pytest.raises(ValueError, match="covariance of 1 feature vectors"):
        frechet_distance(a, FeatureStatistics.of(np.zeros((1, 3))))
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\)"):
        FeatureStatistics.of(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="not finite"):
        FeatureStatistics.of(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="two samples of 4 from 6 pictures: give 2 to 3"):
        frechet_floor(np.zeros((6, 2)), 0, n=4)
