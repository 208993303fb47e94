"""KID and CMMD: against torchmetrics, against their definitions, in expectation, and block by block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from terrasynth.eval.metrics import kernel_distances
from terrasynth.eval.metrics.kernel_distances import CMMD_SCALE, cmmd, kid, kid_of_all

DRAW = np.random.default_rng(0)
A, B = DRAW.normal(size=(90, 12)), DRAW.normal(0.3, 1.2, (70, 12))


def gaussian_mmd(a, b, biased):
    """CMMD written out, pair by pair of the kernel matrix."""
    a, b = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (a, b))

    def kernel(x, y):
        return np.exp(-np.square(x[:, None] - y[None]).sum(-1) / (2 * 10**2))

    def within(x):
        matrix = kernel(x, x)
        return matrix.mean() if biased else matrix[~np.eye(len(x), dtype=bool)].mean()

    return CMMD_SCALE * (within(a) + within(b) - 2 * kernel(a, b).mean())


def test_kid_is_that_of_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    a = A[:70]  # torchmetrics takes as many of both
    assert kid_of_all(a, B) == pytest.approx(poly_mmd(torch.from_numpy(a), torch.from_numpy(B)).item(), rel=1e-9)
    found = kid(a, B, seed=3, subset_size=20, subsets=7)
    generator, expected = np.random.default_rng(3), []
    for _ in range(7):
        parts = [torch.from_numpy(values[generator.permutation(70)[:20]]) for values in (a, B)]
        expected.append(poly_mmd(*parts).item())
    assert found.subset_mean == pytest.approx(np.mean(expected), rel=1e-9)
    assert found.subset_spread == pytest.approx(np.std(expected, ddof=1), rel=1e-9)


@pytest.mark.parametrize("biased", [True, False])
def test_cmmd_is_its_definition(biased):
    assert cmmd(A, B, biased) == pytest.approx(gaussian_mmd(A, B, biased), rel=1e-6)
    assert cmmd(5 * A, B, biased) == pytest.approx(cmmd(A, B, biased), rel=1e-9)


def test_blocks_and_order_change_nothing(monkeypatch):
    order = np.random.default_rng(1).permutation(len(A))
    whole = kid_of_all(A, B), cmmd(A, B), cmmd(A, B, biased=False)
    for block in (1, 7, 64, 90):
        monkeypatch.setattr(kernel_distances, "BLOCK", block)
        parts = kid_of_all(A[order], B), cmmd(A[order], B), cmmd(A[order], B, biased=False)
        assert parts == pytest.approx(whole, rel=1e-8)


def test_kid_is_unbiased_and_its_interval_is_as_wide_as_the_draws_scatter():
    """k(x, y) = (xy + 1)^3 in one dimension: the MMD^2 of two normal distributions in closed form, by their moments."""
    shift, draws = 0.5, 300
    moments = np.array([[1, 0, 1, 0], [1, shift, 1 + shift**2, 3 * shift + shift**3]])
    closed_form = (np.array([1, 3, 3, 1]) * (moments[0] - moments[1]) ** 2).sum()
    generator = np.random.default_rng(2)
    found = [kid(generator.normal(size=(60, 1)), generator.normal(shift, 1, (60, 1)), seed, subsets=20)
             for seed in range(draws)]
    distances = np.array([each.distance for each in found])
    assert distances.mean() == pytest.approx(closed_form, abs=4 * distances.std() / np.sqrt(draws))
    widths = np.array([each.high - each.low for each in found])
    assert 0.8 < np.sqrt(np.square(widths).mean()) / (2 * 1.96 * distances.std()) < 1.3
    covered = np.mean([each.low <= closed_form <= each.high for each in found])
    assert covered > 0.8


def test_of_one_distribution_the_unbiased_ones_are_zero_on_average_and_the_biased_one_is_not():
    generator = np.random.default_rng(4)
    sets = [generator.normal(size=(2, 40, 8)) for _ in range(200)]
    for distance in (kid_of_all, lambda a, b: cmmd(a, b, biased=False)):
        found = np.array([distance(a, b) for a, b in sets])
        assert found.mean() == pytest.approx(0, abs=4 * found.std() / np.sqrt(len(sets)))
        assert (found < 0).any()
    assert min(cmmd(a, b) for a, b in sets) > 0


def test_the_same_seed_gives_the_same_subsets():
    assert kid(A, B, 1) == kid(A, B, 1)
    assert kid(A, B, 1).subset_mean != kid(A, B, 2).subset_mean
    assert kid(A, B, 1).distance == kid(A, B, 2).distance
    assert (kid(A, B, 1).subset_size, kid(A, B, 1).subsets) == (35, 100)


def test_what_cannot_be_compared_is_named():
    with pytest.raises(ValueError, match=r"shape \(90, 12\) and \(70, 11\)"):
        kid(A, B[:, 1:], 0)
    with pytest.raises(ValueError, match="3 and 70 images: a kernel distance needs 4"):
        kid(A[:3], B, 0)
    with pytest.raises(ValueError, match="subsets of 36 from 90 and 70 images: give at least 2 subsets of 2 to 35"):
        kid(A, B, 0, subset_size=36)
    with pytest.raises(ValueError, match="length zero"):
        cmmd(np.zeros((3, 2)), np.ones((3, 2)))
