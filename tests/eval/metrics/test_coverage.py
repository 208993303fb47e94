"""Precision, recall, density and coverage: against prdc, in cases that are known, and block by block."""

from __future__ import annotations

import numpy as np
import prdc
import pytest

from terrasynth.eval.metrics import coverage
from terrasynth.eval.metrics.coverage import measure_coverage

DRAW = np.random.default_rng(0)
REAL, OTHER = DRAW.normal(size=(120, 6)), DRAW.normal(0.4, 0.8, (90, 6))


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("offset", [0.0, 1e3], ids=["at the origin", "far away"])
def test_they_are_those_of_prdc(k, offset):
    expected = prdc.compute_prdc(REAL, OTHER, k)
    found = measure_coverage(OTHER + offset, REAL + offset, k)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9)
    assert (found.n, found.n_reference, found.k) == (90, 120, k)


def test_blocks_and_order_change_nothing(monkeypatch):
    whole, order = measure_coverage(OTHER, REAL), np.random.default_rng(1).permutation(len(OTHER))
    for block in (1, 8, 90, 100):
        monkeypatch.setattr(coverage, "BLOCK", block)
        assert measure_coverage(OTHER[order], REAL) == whole


def test_what_is_known_comes_out():
    same = measure_coverage(REAL, REAL)
    assert (same.precision, same.recall, same.density, same.coverage) == (1, 1, 1, 1)
    far = measure_coverage(OTHER + 1e3, REAL)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)
    collapsed = measure_coverage(REAL[:1] + DRAW.normal(0, 1e-3, (90, 6)), REAL)
    assert collapsed.precision == 1
    assert collapsed.recall < 0.05
    assert collapsed.coverage < 0.2


def test_what_has_too_few_neighbours_is_refused():
    with pytest.raises(ValueError, match="the 5 nearest of 5 and of 120 images: give more than 5"):
        measure_coverage(OTHER[:5], REAL)
    with pytest.raises(ValueError, match=r"shape \(90, 6\) and \(120, 5\)"):
        measure_coverage(OTHER, REAL[:, 1:])
