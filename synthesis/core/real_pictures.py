"""Real images with captions and classes, as filters, exports and studies read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.errors import InputError, one_line

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class RealPictures:
    """Real images to compare with.

    Attributes:
        images: uint8 (M, H, W, 3).
        texts: A caption of each.
        labels: The class of each; None where the data names none.
    """

    images: NDArray[np.uint8]
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None


class RealPair(Protocol):
    """One real image with its captions, as readers of image-caption data give it.

    Attributes:
        name: File name or row number.
        label: Class, or "" where the data names none.
        captions: At least one.
        open: Opens the image as RGB.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def captions(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def open(self) -> Callable[[], Image.Image]: ...  # noqa: D102


def stack(pictures: Sequence[Image.Image], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Images resized to one (width, height): real ones lose the same detail as those they are compared with."""
    from PIL import Image

    return np.stack([np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)) for picture in pictures])


def real_pictures(pairs: Sequence[RealPair], size: tuple[int, int]) -> RealPictures:
    """Real pairs as arrays: images at one (width, height), the first captions, and the classes if all have one.

    Raises:
        InputError: An image that cannot be read.
    """
    labels = tuple(pair.label for pair in pairs)
    return RealPictures(
        real_images(pairs, size),
        tuple(pair.captions[0] for pair in pairs),
        labels if all(labels) else None,
    )


def real_images(pairs: Sequence[RealPair], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The images of real pairs at one (width, height), uint8 (N, H, W, 3); one at a time is in memory as it was.

    Raises:
        InputError: An image that cannot be read.
    """
    return np.concatenate([stack([opened(pair)], size) for pair in pairs])


def opened(pair: RealPair) -> Image.Image:
    """The image of a real pair, decoded.

    Raises:
        InputError: It cannot be read.
    """
    try:
        picture = pair.open()
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for broken files
        raise InputError(f"real image {pair.name!r} cannot be read ({one_line(error, 240)}); repair it or take it "
                         "out of the data") from error
    return picture
