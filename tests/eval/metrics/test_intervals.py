"""Intervals from subsets without replacement: as wide as the figure scatters over fresh draws."""

from __future__ import annotations

import numpy as np
import pytest

from terrasynth.eval.metrics.frechet import frechet_of_features
from terrasynth.eval.metrics.intervals import half_sample_interval, normal_interval, subset_error


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_of_a_mean_it_is_the_standard_error(share):
    values = np.random.default_rng(0).normal(size=400)
    generator = np.random.default_rng(1)
    means = [generator.permutation(values)[: int(400 * share)].mean() for _ in range(2000)]
    assert subset_error(means, [share]) == pytest.approx(values.std(ddof=1) / np.sqrt(400), rel=0.08)
    assert subset_error(means, [share, 0.05]) == subset_error(means, [share])


def test_of_a_distance_it_is_as_wide_as_fresh_draws_scatter():
    generator, distances, widths = np.random.default_rng(2), [], []
    for seed in range(60):
        a, b = generator.normal(0.4, 1, (200, 6)), generator.normal(size=(150, 6))
        distances.append(frechet_of_features(a, b))
        low, high = half_sample_interval(distances[-1], frechet_of_features, [a, b], seed, repeats=20)
        assert low < distances[-1] < high
        widths.append(high - low)
    assert 0.75 < np.mean(widths) / np.subtract(*normal_interval(0, np.std(distances))[::-1]) < 1.4


def test_shares_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"1 subsets of shares \[0.5\]"):
        subset_error([1.0], [0.5])
    with pytest.raises(ValueError, match="shares between 0 and 1"):
        subset_error([1.0, 2.0], [1.0])
