"""Real against real, and generated against the same real pictures, at equal size."""

from __future__ import annotations

import numpy as np
import pytest

from terrasynth.eval.metrics.floors import against_real, as_many_real
from terrasynth.eval.metrics.frechet import frechet_floor, frechet_of_features

DRAW = np.random.default_rng(0)
REAL, OTHER = DRAW.normal(size=(60, 4)), DRAW.normal(0.8, 1, (45, 4))


def distance(a, b):
    return {"distance": frechet_of_features(a, b)}


def test_the_splits_are_those_of_the_frechet_floor():
    found, floor = against_real(distance, OTHER, REAL, 3)["distance"], frechet_floor(REAL, 3)
    assert (found.real, found.low, found.high, found.n) == (floor.mean, floor.low, floor.high, floor.n)
    assert found.generated > found.high


def test_samples_are_as_large_as_both_sides_allow_and_disjoint():
    seen = []

    def overlap(a, b):
        seen.append((len(a), len(b)))
        return {"shared": float(len(set(a[:, 0]) & set(b[:, 0])))}

    assert against_real(overlap, OTHER, REAL, 0, repeats=2)["shared"].high == 0
    assert seen == [(30, 30)] * 4
    seen.clear()
    assert against_real(overlap, OTHER[:7], REAL, 0, repeats=1)["shared"].n == 7
    assert seen == [(7, 7)] * 2


def test_pictures_like_the_real_ones_are_at_the_floor():
    found = [against_real(distance, np.random.default_rng(seed).normal(size=(60, 4)), REAL, seed)["distance"]
             for seed in range(10)]
    assert np.mean([each.generated for each in found]) == pytest.approx(
        np.mean([each.real for each in found]), rel=0.25)


def test_a_figure_without_comparison_is_of_as_many_real_pictures():
    def spread(values):
        return {"n": float(len(values)), "spread": float(values.std())}

    found = as_many_real(spread, OTHER, REAL, 1)
    assert (found["n"].real, found["n"].generated, found["n"].n) == (45, 45, 45)
    assert found["spread"].generated == pytest.approx(OTHER.std())
    assert found["spread"].low < found["spread"].real < found["spread"].high
    assert found == as_many_real(spread, OTHER, REAL, 1)
