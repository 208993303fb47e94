from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from terrasynth.eval import FeatureStatistics, InputError, frechet_distance, frechet_floor
from terrasynth.eval.metrics import moments
from terrasynth.eval.metrics.frechet import frechet_infinity, frechet_of_features


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


@pytest.mark.parametrize("n", [200, 12], ids=["full rank", "fewer samples than features"])
def test_agrees_with_torchmetrics(n):
    from torchmetrics.image.fid import _compute_fid

    a, b = correlated(n, 16, 2), correlated(n + 5, 16, 3, 0.5)
    moments = [torch.from_numpy(part) for x in (a, b) for part in (x.mean(0), np.cov(x.T))]
    found = frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))
    assert found == pytest.approx(_compute_fid(*moments).item(), rel=1e-4)


@pytest.mark.parametrize(("n", "m"), [(9, 40), (40, 9), (7, 7), (40, 40)])
def test_the_distance_of_few_pictures_is_the_same_by_the_short_way(n, m):
    a, b = correlated(n, 16, 20, 0.5).astype(np.float32), correlated(m, 16, 21)
    expected = frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))
    assert frechet_of_features(a, b) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="not finite"):
        frechet_of_features(a, np.full_like(b, np.nan))


@pytest.mark.parametrize("reduced", [(True, False), (False, True), (True, True)], ids=["a", "b", "both"])
def test_a_singular_covariance_has_the_distance_of_its_own_space(reduced):
    # A third feature that is the sum of two, and one that never moves: no covariance has an inverse.
    a, b = correlated(60, 2, 11), correlated(70, 2, 12, 1.0)
    spread = np.array([[1.0, 0, 0.6, 0], [0, 1.0, 0.8, 0]])
    turn = np.linalg.qr(np.random.default_rng(13).normal(size=(4, 4)))[0]
    wide = [(x @ spread + (0 if flat else 1e-9 * np.random.default_rng(i).normal(size=(len(x), 4)))) @ turn
            for i, (x, flat) in enumerate(zip((a, b), reduced, strict=True))]
    orthonormal = np.linalg.qr(spread.T)[0]
    narrow = [x @ spread @ orthonormal for x in (a, b)]
    wide_distance, distance = (
        frechet_distance(*(FeatureStatistics.of(x) for x in pair)) for pair in (wide, narrow)
    )
    assert wide_distance == pytest.approx(distance, rel=1e-4)


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


@pytest.mark.parametrize(("dim", "n"), [(24, 240), (48, 40)], ids=["more pictures", "fewer pictures than features"])
def test_the_extrapolation_is_nearer_to_the_true_distance(dim, n):
    scale = np.exp(-np.arange(dim) / 8)
    true = np.sum(scale**2 * 0.25) + np.sum((0.4 * scale) ** 2)
    generator, found = np.random.default_rng(14), []
    for seed in range(20):
        a = generator.normal(0.5, 1, (n, dim)) * scale
        b = generator.normal(0, 1.4, (n, dim)) * scale
        distance = frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))
        paper = frechet_infinity(a, FeatureStatistics.of(b), seed)
        found.append([distance, paper.distance, frechet_infinity(a, b, seed).distance])
    distance, paper, both = np.mean(found, axis=0)
    assert distance > paper > both
    assert abs(both - true) < 0.4 * (distance - true)


def test_the_extrapolation_tells_how_it_was_made():
    a, b = correlated(60, 20, 15), correlated(80, 20, 16)
    found = frechet_infinity(a, b, seed=2)
    assert found == frechet_infinity(a, b, seed=2)
    assert found.distance != frechet_infinity(a, b, seed=3).distance
    assert (found.smallest, found.n, found.points, found.both, found.seed) == (30, 60, 15, True, 2)
    assert 0.5 < found.fit <= 1
    whole = frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))
    assert found.distance + found.slope / 60 == pytest.approx(whole, rel=0.05)
    assert not frechet_infinity(a, FeatureStatistics.of(b), 0).both
    with pytest.raises(ValueError, match="15 samples of 60 to 60 images"):
        frechet_infinity(a, b, 0, smallest=60)


def test_rows_taken_in_at_a_time_change_nothing(monkeypatch):
    features = correlated(50, 5, 17).astype(np.float32)
    whole = FeatureStatistics.of(features)
    for rows in (1, 7, 50):
        monkeypatch.setattr(moments, "ROWS", rows)
        parts = FeatureStatistics.of(features)
        np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_statistics_come_back_from_their_file(tmp_path, dtype, tolerance):
    a, other = (FeatureStatistics.of(correlated(40, 7, seed)) for seed in (18, 19))
    about = {"network": {"model": "scene-ucm", "content": "0123"}, "size": [128, 128], "files": ["a.png", "b.png"]}
    a.save(tmp_path / "a.safetensors", about, dtype)
    a.save(tmp_path / "again.safetensors", about, dtype)
    back, told = FeatureStatistics.load(tmp_path / "a.safetensors")
    assert told == about
    assert back.n == 40
    np.testing.assert_allclose(back.mean, a.mean, rtol=1e-15)
    np.testing.assert_allclose(back.covariance, a.covariance, atol=tolerance * np.abs(a.covariance).max())
    assert frechet_distance(back, other) == pytest.approx(frechet_distance(a, other), rel=100 * tolerance)
    np.testing.assert_allclose(back.merge(other).covariance, a.merge(other).covariance, rtol=1e-4)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_a_file_that_holds_no_statistics_is_named(tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "text.safetensors").write_text("no tensors here")
    save_file({"mean": np.zeros(3)}, tmp_path / "other.safetensors")
    FeatureStatistics.of(correlated(9, 3, 0)).save(tmp_path / "cut.safetensors", {})
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-8])
    for name in ("text", "other", "cut", "missing"):
        with pytest.raises(InputError, match=rf"{name}.safetensors: not readable as feature statistics .*FeatureStat"):
            FeatureStatistics.load(tmp_path / f"{name}.safetensors")


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
    with pytest.raises(ValueError, match="two samples of 4 from 6 images: give 2 to 3"):
        frechet_floor(np.zeros((6, 2)), 0, n=4)
