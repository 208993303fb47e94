"""What is asked of an image file of foreign data, and what its user may state of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.training.errors import ImageError

MOST_PIXELS = 178_956_970  # Pillow's own limit; one image of so many takes half a gigabyte as RGB

HOW = "state it in a data YAML (docs/data.md)"


@dataclass(frozen=True)
class ImageRule:
    """What the user states of the pixels of a data set.

    Attributes:
        bands: The bands, from 1, that are red, green and blue, or the one that is gray; None if files say it.
        range: The values of deep samples (more than 8 bits, signed, or real numbers) that become 0 and 255; None for
            unknown.
    """

    bands: tuple[int, ...] | None = None
    range: tuple[float, float] | None = None

    def to_8_bits(self, values: NDArray[np.generic], nodata: float | None = None) -> NDArray[np.uint8]:
        """Samples of one band (H, W) as uint8; NaN and the value for "no data" become 0.

        Raises:
            ImageError: No range is stated.
        """
        if self.range is None:
            raise ImageError(f"{values.dtype} samples, and which values are black and white is not guessed; {HOW}: "
                             "range: [low, high]")
        low, high = self.range
        with np.errstate(all="ignore"):
            scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
        scaled[~np.isfinite(scaled) & ~np.isposinf(scaled)] = 0
        found: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
        if nodata is not None:
            found[values == nodata] = 0
        return found


def check_size(width: int, height: int) -> None:
    """Check that an image is not too large to decode.

    Raises:
        ImageError: It has more than `MOST_PIXELS` pixels.
    """
    if width * height > MOST_PIXELS:
        raise ImageError(f"{width} x {height} pixels, more than {MOST_PIXELS:,}; cut it into tiles")
