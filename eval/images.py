"""What a batch of images is, and its brightness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114])


def check_images(images: NDArray[np.uint8]) -> None:
    """Refuse anything but a batch of RGB images as bytes.

    Raises:
        TypeError: `images` is no `uint8` array.
        ValueError: Its shape is not (N, H, W, 3).
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = f"dtype {images.dtype}" if isinstance(images, np.ndarray) else type(images).__name__
        raise TypeError(f"images: {kind}, where a numpy uint8 array with values 0 to 255 is needed; convert it first")
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images: shape {images.shape}, where (N, H, W, 3) is needed; stack RGB images")
