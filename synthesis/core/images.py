"""Images as stored bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Compression settings are fixed: equal images have to give equal bytes. PNG files of level 4 are as large as those of
# level 6 to a part in a thousand and take two thirds of the time (210 images of the demo).
ENCODINGS: dict[str, dict[str, object]] = {
    "png": {"compress_level": 4},
    "webp": {"lossless": True, "quality": 100, "method": 4},
    "jpeg": {"quality": 95, "subsampling": 0},
}


def encode(picture: NDArray[np.uint8], image_format: str) -> bytes:
    """An image, uint8 (H, W, 3), as the bytes of a PNG, WebP or JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=image_format, **ENCODINGS[image_format])
    return buffer.getvalue()


def encode_mask(mask: NDArray[np.uint8], colors: Sequence[Sequence[int]]) -> bytes:
    """A mask, uint8 (H, W), as the bytes of a PNG file whose palette gives each value its color (red, green, blue)."""
    picture = Image.fromarray(mask)
    picture.putpalette([part for color in colors for part in color])
    buffer = io.BytesIO()
    picture.save(buffer, format="png", **ENCODINGS["png"])
    return buffer.getvalue()


def encode_all(pictures: NDArray[np.uint8], image_format: str, threads: int = 1) -> list[bytes]:
    """Images, uint8 (N, H, W, 3), as the bytes of files, in order; Pillow compresses without Python's lock."""
    if threads < 2:
        return [encode(picture, image_format) for picture in pictures]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda picture: encode(picture, image_format), pictures))


def decode(data: bytes) -> NDArray[np.uint8]:
    """The image in a file's bytes, uint8 (H, W, 3)."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def decode_all(encoded: Iterable[bytes]) -> NDArray[np.uint8]:
    """Images of one size, uint8 (N, H, W, 3)."""
    return np.stack([decode(data) for data in encoded])


def contact_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int, gap: int = 4) -> NDArray[np.uint8]:
    """Images of one size, uint8 (H, W, 3), side by side on white, row by row; no wider than its first row."""
    height, width, _ = pictures[0].shape
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet
