"""Boxes in words: the ways in which models that read and write coordinates as text were trained to say them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from terrasynth.prompts.layouts.labels import Instance
from terrasynth.synthesis.export.labels import Corners, ImageLabels


@dataclass(frozen=True)
class Coordinates:
    """A way to say a box.

    Attributes:
        meaning: What the numbers mean, for the file.
        asked: What a request adds, so that it says which numbers it wants.
        said: The box of a thing as text.
    """

    meaning: str
    asked: str
    said: Callable[[ImageLabels, Instance], str]


def pixels(labels: ImageLabels, one: Instance) -> str:
    """Left, top, right, bottom in pixels, far ends excluded."""
    return str(list(one.box))


def unit(labels: ImageLabels, one: Instance) -> str:
    """The same as shares of the side, to four decimals: the nearest pixel of an image of up to 5,000 is the one."""
    return f"[{', '.join(f'{number / labels.side:.4f}' for number in one.box)}]"


def thousandths(labels: ImageLabels, one: Instance) -> str:
    """The first and last of 1,000 columns and rows that the box lies in; of up to 1,000 pixels none is lost."""
    left, top, right, bottom = one.box
    firsts = [1000 * number // labels.side for number in (left, top)]
    return str(firsts + [-(-1000 * number // labels.side) - 1 for number in (right, bottom)])


def geochat(labels: ImageLabels, one: Instance) -> str:
    """GeoChat's `{<left><top><right><bottom>|<angle>}` in hundredths of the side and whole degrees."""
    found = turned_back(labels.corners_inside(one))
    if not all(0 <= number <= labels.side for number in found[:4]):
        found = (*one.box, 0)
    return "{" + "".join(f"<{round(100 * number / labels.side)}>" for number in found[:4]) + f"|<{found[4]}>}}"


def turned_back(corners: Corners) -> tuple[float, float, float, float, int]:
    """An oriented box as an upright one and the angle by which it is turned about its center.

    Args:
        corners: Front left first, clockwise.

    Returns:
        Left, top, right, bottom, and degrees counterclockwise, 0 to 89.
    """
    (x, y), (x2, y2), _, (x4, y4) = corners
    angle = round(math.degrees(math.atan2(y - y2, x2 - x))) % 180
    width, height = math.hypot(x2 - x, y2 - y), math.hypot(x4 - x, y4 - y)
    if angle >= 90:
        angle, width, height = angle - 90, height, width
    across, down = sum(point[0] for point in corners) / 4, sum(point[1] for point in corners) / 4
    return across - width / 2, down - height / 2, across + width / 2, down + height / 2, angle


WAYS: Mapping[str, Coordinates] = {
    "pixels": Coordinates(
        "[left, top, right, bottom] in pixels from the upper left corner, from 0, far ends excluded",
        " as [left, top, right, bottom] in pixels", pixels),
    "unit": Coordinates(
        "[left, top, right, bottom] as shares of width and height from the upper left corner, 0 to 1, far ends "
        "excluded",
        " as [left, top, right, bottom], from 0 to 1", unit),
    "thousand": Coordinates(
        "[left, top, right, bottom], numbers of the first and last of 1000 equal columns and rows, 0 to 999, far ends "
        "included", " as [left, top, right, bottom], from 0 to 999", thousandths),
    "geochat": Coordinates(
        "{<left><top><right><bottom>|<angle>}: an oriented box, turned back to be upright, in hundredths of width and "
        "height from the upper left corner, 0 to 100, far ends excluded; the angle in degrees, 0 to 89, by which it is "
        "turned counterclockwise about its center", "", geochat),
}
"""The ways, by the value of the option `coordinates`."""
