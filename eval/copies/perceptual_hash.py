"""Perceptual hash: 64 bits that survive re-encoding, slight blur and resizing, so that counting bits finds a copy.

The eight flips and quarter turns of an image only swap and negate its cosine coefficients, so their hashes come from
one transform.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.eval.images import check_images

SIDE, KEPT = 32, 8
BITS = KEPT * KEPT
VIEWS = 8
"""Flips and quarter turns of a square image; the first is the image as it lies."""

_FLAT = 1e-2  # coefficients that only rounding keeps from zero; the largest possible one is 255 x 32


def turned(images: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """Images uint8 (N, H, W, 3) in one of the eight views: view % 4 quarter turns, from view 4 on then mirrored."""
    after = np.rot90(images, view % 4, axes=(1, 2))
    return np.ascontiguousarray(after[:, :, ::-1] if view >= 4 else after)


def perceptual_hashes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The hash known as pHash (Zauner 2010, section 3.2.1), in all eight views.

    Luminance (ITU-R BT.601) at 32 x 32, its cosine transform, and of the 8 x 8 lowest frequencies which lie above
    their median. An image without any detail hashes to zeros.

    Args:
        images: `uint8` (N, H, W, 3).

    Returns:
        `uint8` (N, 8, 8): view (see `turned`), bytes of 8 bits each; row 0 is the hash of the image as it lies.

    Raises:
        TypeError: Not `uint8`.
        ValueError: Not (N, H, W, 3).
    """
    check_images(images)
    basis = _cosines()
    hashes = np.empty((len(images), VIEWS, BITS // 8), np.uint8)
    for number, image in enumerate(images):
        # In floats: rounding between the two passes of the filter would tell a turned image from its original.
        grey = Image.fromarray(image).convert("L").convert("F").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        low = basis @ np.asarray(grey, np.float64) @ basis.T
        low[np.abs(low) < _FLAT] = 0
        for view in range(VIEWS):
            block = _turned_block(low, view)
            hashes[number, view] = np.packbits((block > np.median(block)).reshape(-1))
    return hashes


def _cosines() -> NDArray[np.float64]:
    """The first 8 rows of the orthonormal cosine transform (DCT-II) of 32 samples."""
    frequency, place = np.arange(KEPT)[:, None], np.arange(SIDE)[None]
    basis: NDArray[np.float64] = np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)) * math.sqrt(2 / SIDE)
    basis[0] /= math.sqrt(2)
    return basis


def _turned_block(low: NDArray[np.float64], view: int) -> NDArray[np.float64]:
    """The coefficients of the turned image: mirroring an axis negates its odd frequencies."""
    sign = np.where(np.arange(KEPT) % 2, -1.0, 1.0)
    for _ in range(view % 4):
        low = low.T * sign[:, None]  # a quarter turn against the clock: transpose, then turn upside down
    return low * sign[None] if view >= 4 else low
