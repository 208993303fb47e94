"""An image as its own thumbnail: what decides whether two images are near-copies.

A dual encoder puts images near each other that mean the same. In a class like chaparral, whose captions are all
alike, every real image has a neighbor with a cosine above 0.99, so no threshold tells a copy from a sibling. A
coarse thumbnail sees the layout, not the meaning. It does not see that an image was turned or moved. Where copies of
training images are looked for, the detail is compared as well (`ThumbnailEncoder.with_detail`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.images import LUMA, check_images
from terrasynth.eval.models.calibration import Calibration

THUMBNAIL = "thumbnail"
DETAIL = "detail"
SIDE = 16
DETAIL_SIDE = 32
AROUND = 2
PARTS = {"layout": 3 * SIDE * SIDE, "detail": DETAIL_SIDE * DETAIL_SIDE}
"""What `ThumbnailEncoder.with_detail` gives, and so many columns of each."""


class ThumbnailEncoder:
    """Area-averaged 16 x 16 RGB, each channel's mean taken off, as a unit vector. Needs no weights; reads no text.

    The cosine of two such vectors is the correlation of the images at 1/16 of their side: 1 for equal images and
    for one that is a brighter or more contrasted copy of the other.

    Attributes:
        dim: 768.
        calibration: None, as there are no scores with texts.
        reads_text: False.
        precision: "float64", on any machine.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import ThumbnailEncoder
        >>> images = np.random.default_rng(0).integers(0, 200, (2, 32, 32, 3), dtype=np.uint8)
        >>> vectors, brighter = ThumbnailEncoder().encode_images(images), ThumbnailEncoder().encode_images(images + 50)
        >>> round(float(vectors[0] @ brighter[0]), 3), bool(vectors[0] @ vectors[1] < 0.5)
        (1.0, True)
    """

    dim = 3 * SIDE * SIDE
    calibration: Calibration | None = None
    reads_text = False
    precision = "float64"

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides an embedding."""
        return {"kind": THUMBNAIL, "side": SIDE}

    def with_detail(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The embedding, then the detail of each image, which has to have 32 px a side at the least.

        Two even fields have much the same layout, however different their furrows; what JPEG changes in one of them is
        no less. The detail tells them apart, and blur, brightness and JPEG leave most of it. It does not see a copy
        that was drawn anew in other strokes; the layout does.

        Returns:
            float32 (N, 1792), `PARTS` side by side: two unit vectors, all zero for an even image. The detail is the
            brightness (ITU-R BT.601) of 32 x 32 cells less its mean over the 5 x 5 cells around.

        Raises:
            InputError: Wrong type or shape, or images that are smaller.
        """
        return np.concatenate([self.encode_images(images), DetailEncoder().encode_images(images)], axis=1)

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Images uint8 (N, H, W, 3), 16 px a side at the least, to float32 (N, 768); all zero for an even image.

        Raises:
            InputError: Wrong type or shape, or images that are smaller.
        """
        cells = _cells(images, SIDE)
        return _unit(cells - cells.mean((1, 2), keepdims=True))

    def features(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """As `encode_images`: a thumbnail without its contrast has no length of its own."""
        return self.encode_images(images, batch_size)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Refused: a thumbnail has nothing to do with a text.

        Raises:
            InputError: Always.
        """
        raise InputError(f"encoder {THUMBNAIL!r} reads no text; name a dual encoder such as 'clip-ucm'")

    def score(self, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
        """Refused, as `encode_texts` is.

        Raises:
            InputError: Always.
        """
        return self.encode_texts(texts)


class DetailEncoder:
    """The second part of `ThumbnailEncoder.with_detail` alone, for a distance of its own."""

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides a row."""
        return {"kind": DETAIL, "side": DETAIL_SIDE, "around": AROUND}

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Images uint8 (N, H, W, 3), 32 px a side at the least, to float32 (N, 1024); all zero for an even image.

        Raises:
            InputError: Wrong type or shape, or images that are smaller.
        """
        grey = np.pad(_cells(images, DETAIL_SIDE) @ LUMA, ((0, 0), (AROUND, AROUND), (AROUND, AROUND)), "symmetric")
        window = (2 * AROUND + 1, 2 * AROUND + 1)
        around = np.lib.stride_tricks.sliding_window_view(grey, window, axis=(1, 2)).mean((-2, -1))
        return _unit(grey[:, AROUND:-AROUND, AROUND:-AROUND] - around)


def _cells(images: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """Area means (N, side, side, 3)."""
    check_images(images)
    _, height, width, _ = images.shape
    if min(height, width) < side:
        raise InputError(f"images of {width} x {height} px are smaller than a thumbnail of {side}; draw larger ones")
    # Means over cells whose edges are spread evenly: exact where the side of the image is a multiple.
    rows, columns = (np.linspace(0, length, side + 1).round().astype(int) for length in (height, width))
    sums = np.add.reduceat(images.astype(np.float64), rows[:-1], axis=1)
    sums = np.add.reduceat(sums, columns[:-1], axis=2)
    means: NDArray[np.float64] = sums / (np.diff(rows)[:, None] * np.diff(columns)[None])[None, :, :, None]
    return means


def _unit(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows (N, ...) as unit vectors (N, D); zero where there is nothing but rounding."""
    flat = values.reshape(len(values), -1)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(flat, norm, out=np.zeros_like(flat), where=norm > 1e-6).astype(np.float32)
    return unit
