"""Plane geometry in meters or pixels: outlines, strips along a line, which pixels they fill, and what overlaps.

Coordinates are (x, y) with x to the right and y down, as in an image; both may be of any unit. Headings are degrees
clockwise from up, so 90 is to the right. A pixel of column i and row j is the square from (i, j) to (i + 1, j + 1); it
is filled by an outline if its center (i + 0.5, j + 0.5) lies inside by the even-odd rule. This is the one place that
says so: masks, boxes and corners of labels all follow it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Ring = tuple[Point, ...]
Points = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Window(NamedTuple):
    """Pixels of a part of an image: `image[rows, columns][filled]` are those that are meant."""

    rows: slice
    columns: slice
    filled: Mask


def forward(heading: float) -> Point:
    """The unit vector of a heading."""
    turn = np.deg2rad(heading)
    return float(np.sin(turn)), float(-np.cos(turn))


def heading_of(dx: float, dy: float) -> float:
    """The heading of a vector, in [0, 360)."""
    return float(np.rad2deg(np.arctan2(dx, -dy)) % 360)


def placed(unit: Points, x: float, y: float, heading: float, length: float, width: float) -> Points:
    """An outline put in its place.

    Args:
        unit: (N, 2), columns are the share of the width to the right, and of the length forward; both -0.5 to 0.5.

    Returns:
        float64 (N, 2).
    """
    ahead = np.array(forward(heading))
    right = np.array([-ahead[1], ahead[0]])
    found: Points = np.array([x, y]) + unit[:, :1] * (width * right) + unit[:, 1:] * (length * ahead)
    return found


BOX = np.array([[-0.5, 0.5], [0.5, 0.5], [0.5, -0.5], [-0.5, -0.5]])
"""Front left, front right, back right, back left."""


def corners(x: float, y: float, heading: float, length: float, width: float) -> Points:
    """The corners of an oriented box: front left, front right, back right, back left; float64 (4, 2)."""
    return placed(BOX, x, y, heading, length, width)


def fill(outline: Points, height: int, width: int) -> Window | None:
    """The pixels that an outline fills (even-odd rule at pixel centers).

    Args:
        outline: (N, 2) in pixels; the last point is joined to the first.

    Returns:
        None where it fills no pixel of the image.
    """
    x, y = outline[:, 0], outline[:, 1]
    top, bottom = max(0, int(np.ceil(y.min() - 0.5))), min(height, int(np.ceil(y.max() - 0.5)))
    left, right = max(0, int(np.ceil(x.min() - 0.5))), min(width, int(np.ceil(x.max() - 0.5)))
    if top >= bottom or left >= right:
        return None
    after = np.concatenate([outline[1:], outline[:1]])
    x2, y2 = after[:, 0], after[:, 1]
    rows = np.arange(top, bottom) + 0.5
    crossed = (y[:, None] <= rows) != (y2[:, None] <= rows)
    edge, row = np.nonzero(crossed)
    at = x[edge] + (rows[row] - y[edge]) * (x2[edge] - x[edge]) / (y2[edge] - y[edge])
    column = np.clip(np.ceil(at - 0.5), left, right).astype(np.int64) - left
    span = right - left + 1
    toggles = np.bincount(row * span + column, minlength=len(rows) * span).reshape(len(rows), span)[:, :-1]
    filled = np.cumsum(toggles, axis=1) % 2 == 1
    return Window(slice(top, bottom), slice(left, right), filled) if filled.any() else None


def strip(points: Points, thickness: float, height: int, width: int) -> list[Window]:
    """The pixels within half a thickness of a line of points (round ends and joints), one window a segment."""
    reach, found = thickness / 2, []
    for (ax, ay), (bx, by) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        top, bottom = max(0, int(min(ay, by) - reach)), min(height, int(max(ay, by) + reach) + 2)
        left, right = max(0, int(min(ax, bx) - reach)), min(width, int(max(ax, bx) + reach) + 2)
        if top >= bottom or left >= right:
            continue
        y, x = np.arange(top, bottom)[:, None] + 0.5 - ay, np.arange(left, right)[None] + 0.5 - ax
        dx, dy = bx - ax, by - ay
        square = dx * dx + dy * dy
        along = np.clip((x * dx + y * dy) / square, 0, 1) if square > 0 else np.zeros_like(x * y)
        near = (x - along * dx) ** 2 + (y - along * dy) ** 2 <= reach * reach
        if near.any():
            found.append(Window(slice(top, bottom), slice(left, right), near))
    return found


def distance_to_line(points: Points, line: Points) -> NDArray[np.float64]:
    """The distance of each of N points to a line of points; float64 (N,)."""
    start, step = line[:-1][None], np.diff(line, axis=0)[None]
    square = np.maximum((step**2).sum(-1), 1e-12)
    along = np.clip(((points[:, None] - start) * step).sum(-1) / square, 0, 1)
    found: NDArray[np.float64] = np.sqrt((((start + along[..., None] * step) - points[:, None]) ** 2).sum(-1)).min(1)
    return found


def walk(line: Points, spacing: float, begin: float = 0.0) -> list[tuple[float, float, float]]:
    """Places along a line of points, each with the heading there.

    Args:
        spacing: From one place to the next, along the line.
        begin: Where the first lies.

    Returns:
        (x, y, heading) of each.
    """
    steps = np.hypot(*np.diff(line, axis=0).T)
    ends = np.concatenate([[0.0], np.cumsum(steps)])
    found = []
    for at in np.arange(begin, ends[-1], spacing):
        part = min(int(np.searchsorted(ends, at, side="right")) - 1, len(steps) - 1)
        a, b = line[part], line[part + 1]
        x, y = a + (b - a) * ((at - ends[part]) / max(steps[part], 1e-9))
        found.append((float(x), float(y), heading_of(*(b - a).tolist())))
    return found


def smooth(line: Points, times: int = 3) -> Points:
    """A line of points with its corners cut (Chaikin, 1974); ends stay."""
    for _ in range(times):
        quarter, more = 0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]
        inner = np.stack([quarter, more], axis=1).reshape(-1, 2)
        line = np.concatenate([line[:1], inner[1:-1], line[-1:]])
    return line


def densified(line: Points, most: float) -> Points:
    """The same line with points no farther apart than `most`."""
    parts = [line[:1]]
    for a, b in itertools.pairwise(line):
        count = max(1, int(np.ceil(np.hypot(*(b - a)) / most)))
        parts.append(a + (b - a) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(parts)


def disk(x: float, y: float, radius: float, points: int = 20) -> Ring:
    """A circle as an outline."""
    return ring((x + radius * np.sin(t), y - radius * np.cos(t)) for t in 2 * np.pi * np.arange(points) / points)


def rectangle(left: float, top: float, right: float, bottom: float) -> Ring:
    """An upright rectangle as an outline."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def ring(points: Iterable[Sequence[float]]) -> Ring:
    """Points as plain numbers, to the centimeter where the unit is the meter."""
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in points)
