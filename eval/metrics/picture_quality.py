"""What is wrong with an image as an image, whatever it shows: numbers from its bytes alone, no network.

Each is one documented number an image. What is normal depends on the size, since an image that was made smaller is
sharper and flatter per pixel, so thresholds come from real images of the same size
(`terrasynth.eval.metrics.quality_calibration`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.images import LUMA, check_images

IDENTITY: Mapping[str, object] = {"kind": "quality", "version": 1}
"""Changes whenever a number below would; measurements are kept under it."""

SMALLEST = 32
TILE = 8
FLAT_DEVIATION = 2.0
PERIODS = (8, 16)
"""ITU-R BT.601, equation for E'_Y."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One number an image.

    Attributes:
        name: What reasons, reports and recipes call it.
        unit: Of the number.
        low_is_bad: Whether a defect makes it small; otherwise it makes it large.
        of: Images uint8 (N, H, W, 3) and their luma float64 (N, H, W), 0 to 255, to (N,).
    """

    name: str
    unit: str
    low_is_bad: bool
    of: Callable[[NDArray[np.uint8], Floats], Floats]


def measure_quality(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Every measure of every image.

    Args:
        images: uint8 (N, H, W, 3), 32 px a side at the least.

    Returns:
        float32 (N, M), columns in the order of `MEASURES`.

    Raises:
        InputError: Images that are smaller.
        TypeError: Not uint8.
        ValueError: Not (N, H, W, 3).
    """
    check_images(images)
    height, width = images.shape[1:3]
    if min(height, width) < SMALLEST:
        raise InputError(f"images of {width} x {height} px are too small to measure their quality; draw "
                         f"{SMALLEST} px a side at the least, or leave the quality filter out")
    rows = [[measure.of(image[None], image[None] @ LUMA)[0] for measure in MEASURES.values()] for image in images]
    return np.array(rows, np.float32).reshape(len(images), len(MEASURES))


def sharpness(images: NDArray[np.uint8], luma: Floats) -> Floats:
    """Deviation of the Laplacian over the root mean square slope (central difference over two pixels).

    The variance of the Laplacian alone (Pech-Pacheco et al., ICPR 2000) is mostly contrast: a beach has less of it than
    a blurred harbour. Over the slope it is how fast edges rise. 1 gray level squared in the denominator keeps an even
    image at 0.
    """
    centre = luma[:, 1:-1, 1:-1]
    across, down = luma[:, 1:-1, 2:] - luma[:, 1:-1, :-2], luma[:, 2:, 1:-1] - luma[:, :-2, 1:-1]
    sides = luma[:, 1:-1, 2:] + luma[:, 1:-1, :-2] + luma[:, 2:, 1:-1] + luma[:, :-2, 1:-1]
    slope = (across**2 + down**2).mean((1, 2))
    return np.asarray(np.sqrt((4 * centre - sides).var((1, 2)) / (slope + 1)))


def flatness(images: NDArray[np.uint8], luma: Floats) -> Floats:
    """Share, 0 to 1, of tiles of 8 x 8 px whose luma deviates by less than 2 gray levels; a rest at the edge is cut."""
    n, rows, columns = len(luma), luma.shape[1] // TILE, luma.shape[2] // TILE
    tiles = luma[:, : rows * TILE, : columns * TILE].reshape(n, rows, TILE, columns, TILE)
    return np.asarray((tiles.std((2, 4)) < FLAT_DEVIATION).mean((1, 2)))


def clipping(images: NDArray[np.uint8], luma: Floats) -> Floats:
    """Share, 0 to 1, of channel values at 0 or 255."""
    return np.asarray(((images == 0) | (images == 255)).mean((1, 2, 3)))


def cast(images: NDArray[np.uint8], luma: Floats) -> Floats:
    """Color cast: the largest less the smallest mean of the three channels, in gray levels."""
    return np.asarray(np.ptp(images.mean((1, 2)), axis=1))


def colour(images: NDArray[np.uint8], luma: Floats) -> Floats:
    """Mean over the pixels of the largest less the smallest channel, in gray levels; 0 for an image in grays."""
    return np.asarray((images.max(3).astype(np.float64) - images.min(3)).mean((1, 2)))


def seams(images: NDArray[np.uint8], luma: Floats) -> Floats:
    """How much larger steps between pixels are at the edges of a grid of 8 or 16 px than beside them; 1 for no grid.

    A generator that decodes latents or tokens of 8 or 16 px leaves such a grid when its decoder is poor. For each line
    between two columns, d is the mean step across it, plus half a gray level. The number is the geometric mean over all
    lines of the grid, both ways, of d over the mean d of the four nearest lines beside it, for the worse of the two
    periods. Logarithms and neighbors keep a single edge of a building from deciding, whatever the contrast.
    """
    return np.asarray(np.max([np.exp(np.mean(_steps(luma, period), axis=0)) for period in PERIODS], axis=0))


def _steps(luma: Floats, period: int) -> list[Floats]:
    logs: list[Floats] = []
    for axis in (2, 1):
        step = np.abs(np.diff(luma, axis=axis)).mean(3 - axis) + 0.5
        for line in range(period - 1, step.shape[1] - 2, period):
            beside = step[:, [line - 2, line - 1, line + 1, line + 2]].mean(1)
            logs.append(np.log(step[:, line] / beside))
    return logs


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("sharpness", "ratio", True, sharpness),
        Measure("flatness", "share of tiles", False, flatness),
        Measure("clipping", "share of values", False, clipping),
        Measure("cast", "grey levels", False, cast),
        Measure("colour", "grey levels", True, colour),
        Measure("seams", "ratio", False, seams),
    )
}
