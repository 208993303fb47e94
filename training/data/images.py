"""Image files of foreign data as upright 8-bit RGB; what cannot be turned into that without a guess is refused."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.training.data.image_rules import HOW, MOST_PIXELS, ImageRule, check_size
from terrasynth.training.data.places import open_file
from terrasynth.training.data.tiff import SIGNATURES, Tiff, read_tags
from terrasynth.training.errors import ImageError, is_shortage

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "AVIF", "PPM")
"""Those of images; others that Pillow opens run programs (EPS) or hold no image."""
SUFFIXES = frozenset({
    "png", "jpg", "jpeg", "jpe", "webp", "tif", "tiff", "bmp", "gif", "jp2", "j2k", "avif", "ppm", "pgm",
})
BLACK = (0, 0, 0)
_SIZ = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream and its size marker

for _library in ("PIL", "rasterio"):  # their remarks would reach standard error beside our line on the same file
    logging.getLogger(_library).addHandler(logging.NullHandler())


@dataclass(frozen=True)
class FileImage:
    """Opens the image in a file.

    Attributes:
        rule: What the user states of its pixels.
    """

    path: Path
    rule: ImageRule

    def __call__(self) -> Image.Image:
        """The image as `read_image` gives it.

        Raises:
            ImageError: See `read_image`; also if the file is gone.
            RunError: There is no memory or no file handle left.
        """
        with open_file(self.path) as file:
            return read_image(file, self.rule)


def image_in(data: bytes, rule: ImageRule) -> Image.Image:
    """The image in the bytes of a file; see `read_image`."""
    return read_image(io.BytesIO(data), rule)


def read_image(file: BinaryIO, rule: ImageRule) -> Image.Image:
    """An image as RGB: upright by its EXIF orientation, black where it is transparent.

    Args:
        file: The whole file, at its start.
        rule: What the user states of its pixels.

    Raises:
        ImageError: It is broken, has more than `MOST_PIXELS` pixels or several frames, or takes a guess to show: which
            bands are red, green and blue, or which values of 16 bits are black and white.
        RunError: There is no memory or no file handle left.
    """
    return guarded(lambda: _read(file, rule))


def guarded(read: Callable[[], Image.Image]) -> Image.Image:
    """Run a decoder of foreign bytes, which may raise anything.

    Raises:
        ImageError: The bytes are no image that can be used.
        RunError: There is no memory or no file handle left.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except (ImageError, RunError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"no image of a kind that is read ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {MOST_PIXELS:,} pixels; cut it into tiles") from error
    except Exception as error:
        if is_shortage(error):
            raise RunError(f"an image cannot be decoded: {one_line(error)}; free some memory or files and run the same "
                           "command again") from error
        raise ImageError(one_line(error, 160)) from error


def _read(file: BinaryIO, rule: ImageRule) -> Image.Image:
    head = file.read(12)
    file.seek(0)
    if head[:4] in SIGNATURES:
        tags = read_tags(file)
        check_size(tags.width, tags.height)
        if rule.bands is not None or not tags.is_plain:
            stated = None if rule.bands else _stated(tags)
            return _from_bands(file, rule, stated, tags.orientation)
    with Image.open(file, formats=FORMATS) as picture:
        check_size(*picture.size)
        if picture.format not in ("MPO", "TIFF") and getattr(picture, "n_frames", 1) > 1:
            raise ImageError(f"{picture.n_frames} frames; which is meant is not guessed, so save one")  # type: ignore[attr-defined]
        if _is_deep(picture, file):
            if len(picture.getbands()) > 1:
                orientation = picture.getexif().get(0x112, 1)
                return _from_bands(file, rule, None, orientation)
            upright = ImageOps.exif_transpose(picture)
            return Image.fromarray(rule.to_8_bits(np.asarray(upright))).convert("RGB")
        return _over_black(ImageOps.exif_transpose(picture), is_tiff=picture.format == "TIFF")


def _from_bands(file: BinaryIO, rule: ImageRule, stated: tuple[int, ...] | None, orientation: int) -> Image.Image:
    from terrasynth.training.data.bands import read_bands

    file.seek(0)
    return ImageOps.exif_transpose(_turned(read_bands(file.read(), rule, stated), orientation))


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    if orientation in range(2, 9):
        picture.getexif()[0x112] = orientation
    return picture


def _stated(tags: Tiff) -> tuple[int, ...]:
    if tags.color_bands is None:
        raise ImageError(f"{tags.bands} bands, and which are red, green and blue is not guessed; {HOW}: "
                         "bands: [3, 2, 1]")
    return tags.color_bands


def _is_deep(picture: ImageFile.ImageFile, file: BinaryIO) -> bool:
    """Whether the file has more than 8 bits a sample, of which Pillow would drop the lower ones in silence."""
    if picture.mode.startswith(("I", "F")):
        return True
    if picture.format == "PNG":
        return any(";16" in str(tile[3]) for tile in picture.tile)
    if picture.format == "PPM":
        return any(isinstance(tile[3], tuple) and isinstance(tile[3][-1], int) and tile[3][-1] > 255
                   for tile in picture.tile)
    if picture.format == "JPEG2000":
        position = file.tell()
        file.seek(0)
        data = file.read(1 << 16)
        file.seek(position)
        start = data.find(_SIZ)
        components = data[start + 42 :] if start >= 0 else b""
        return any((bits & 0x7F) + 1 > 8 for bits in components[: 3 * len(picture.getbands()) : 3])
    return False


def _over_black(picture: Image.Image, is_tiff: bool) -> Image.Image:
    """As RGB, on black as far as it is transparent: the colors of transparent pixels are not meant to be seen.

    Raises:
        ImageError: A TIFF file calls a band alpha that is more than a mask. GDAL calls any fourth band of 8 bits so,
            near infrared too.
    """
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if picture.mode == "La":
        picture = picture.convert("LA")
    shown = picture.convert("RGBA")
    if is_tiff and any(shown.getchannel("A").histogram()[1:255]):
        raise ImageError(f"its last band is called alpha and is no mask, so it may be near infrared; {HOW}: "
                         "bands: [1, 2, 3]")
    return Image.alpha_composite(Image.new("RGBA", shown.size, (*BLACK, 255)), shown).convert("RGB")
