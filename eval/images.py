"""What a batch of images is, its brightness, and how a notebook shows it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

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


def check_some_images(images: NDArray[np.uint8]) -> None:
    """The same, and at least one image.

    Raises:
        TypeError: `images` is no `uint8` array.
        ValueError: Its shape is not (N, H, W, 3), or N is 0.
    """
    check_images(images)
    if not len(images):
        raise ValueError("images: none given; give at least one image")


def as_images(images: NDArray[np.uint8] | Iterable[Image.Image | NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Images as an array, uint8 (N, H, W, 3): such an array as it is, or what `datasets` gives.

    Args:
        images: An array; or PIL images, or arrays (H, W, 3), of one size, as a column of images of `datasets` has them.

    Raises:
        TypeError: Something that is no image, or an array of another dtype.
        ValueError: Images of several sizes, or arrays of another shape.

    Example:
        >>> from PIL import Image
        >>> from terrasynth.eval.images import as_images
        >>> as_images([Image.new("L", (32, 16))]).shape
        (1, 16, 32, 3)
    """
    if isinstance(images, np.ndarray):
        check_images(images)
        return images
    found = []
    for number, image in enumerate(images):
        if isinstance(image, np.ndarray):
            check_images(image[None])
            found.append(image)
        elif hasattr(image, "convert"):
            found.append(np.asarray(image.convert("RGB")))
        else:
            raise TypeError(f"images: {type(image).__name__} at place {number}, where a PIL image is needed")
    if sizes := sorted({image.shape[:2] for image in found}):
        if len(sizes) > 1:
            raise ValueError(f"images: {len(sizes)} sizes, such as {sizes[0][::-1]} and {sizes[-1][::-1]} (width, "
                             "height); bring them to one size first")
        return np.stack(found)
    return np.zeros((0, 1, 1, 3), np.uint8)


def images_html(images: Iterable[NDArray[np.uint8]], texts: Sequence[str], width: int = 128) -> str:
    """Images, each uint8 (H, W, 3), side by side with a text below each: HTML by itself, for a notebook.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval.images import images_html
        >>> images_html(np.zeros((1, 8, 8, 3), np.uint8), ["a <b> c"]).count("&lt;b&gt;")
        2
    """
    from PIL import Image

    figures = []
    for image, text in zip(images, texts, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        figures.append(f'<figure style="margin:0;width:{width}px"><img width="{width}" alt="{escape(text)}" '
                       f'src="data:image/png;base64,{data}"><figcaption style="font-size:small">{escape(text)}'
                       '</figcaption></figure>')
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(figures)}</div>'
