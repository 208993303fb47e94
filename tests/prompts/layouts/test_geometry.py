"""Which pixels an outline fills, against a second implementation and against equations."""

import math

import numpy as np
import pytest

from terrasynth.prompts.layouts.geometry import corners, distance_to_line, fill, heading_of, smooth, strip, walk


def crossings(outline, x, y):
    """Even-odd rule for one point, straight from its definition."""
    inside = False
    for (ax, ay), (bx, by) in zip(outline, [*outline[1:], outline[0]], strict=True):
        if (ay <= y) != (by <= y) and x >= ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


def painted(windows, height, width):
    found = np.zeros((height, width), bool)
    for window in windows:
        if window is not None:
            found[window.rows, window.columns] |= window.filled
    return found


@pytest.mark.parametrize("seed", range(8))
def test_fill_is_the_even_odd_rule_at_pixel_centers(seed):
    outline = np.random.default_rng(seed).uniform(-6, 26, (7, 2))
    expected = [[crossings(outline.tolist(), column + 0.5, row + 0.5) for column in range(18)] for row in range(20)]
    assert (painted([fill(outline, 20, 18)], 20, 18) == np.array(expected)).all()


def test_pixels_are_half_open_squares():
    """A box from 2 to 5 fills the columns 2, 3 and 4, and neighbors share no pixel."""
    box = np.array([(2, 1), (5, 1), (5, 3), (2, 3)], float)
    window = fill(box, 10, 10)
    assert (window.rows, window.columns) == (slice(1, 3), slice(2, 5))
    assert window.filled.all()
    left, right = (painted([fill(each, 9, 9)], 9, 9) for each in (box + 0.5, box + np.array([3.5, 0.5])))
    assert not (left & right).any()
    assert left.sum() == right.sum() == 6


def test_nothing_outside():
    assert fill(np.array([(20, 20), (30, 20), (25, 30)], float), 10, 10) is None


@pytest.mark.parametrize("seed", range(4))
def test_strip_is_what_lies_near_the_line(seed):
    line = np.random.default_rng(seed).uniform(-4, 24, (4, 2))
    centers = np.stack(np.meshgrid(np.arange(20) + 0.5, np.arange(22) + 0.5), axis=-1).reshape(-1, 2)
    expected = distance_to_line(centers, line).reshape(22, 20) <= 2.5
    assert (painted(strip(line, 5.0, 22, 20), 22, 20) == expected).all()


def test_distance_to_a_line():
    line = np.array([(0, 0), (10, 0), (10, 10)], float)
    points = np.array([(5, 3), (13, 4), (-3, -4), (10, 10)], float)
    assert np.allclose(distance_to_line(points, line), [3, 3, 5, 0])


@pytest.mark.parametrize(("heading", "front"), [(0, (10, 7)), (90, (13, 10)), (180, (10, 13)), (270, (7, 10))])
def test_headings_are_clockwise_from_up(heading, front):
    box = corners(10, 10, heading, 6, 2)
    assert np.allclose(box[:2].mean(0), front)
    assert math.isclose(heading_of(*(box[:2].mean(0) - 10).tolist()) % 360, heading % 360, abs_tol=1e-6)
    assert np.allclose(np.hypot(*(box[1] - box[0])), 2)


def test_walk_keeps_its_spacing():
    line = np.array([(0, 0), (6, 0), (6, 6)], float)
    assert walk(line, 4, 1) == [(1, 0, 90), (5, 0, 90), (6, 3, 180)]


def test_smooth_keeps_the_ends():
    line = np.array([(0, 0), (6, 0), (6, 6), (12, 6)], float)
    assert smooth(line)[[0, -1]].tolist() == [[0, 0], [12, 6]]
    assert len(smooth(line)) > 10
