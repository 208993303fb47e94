"""Bands of GeoTIFF, 16-bit PNG and JPEG 2000 files as 8-bit RGB, for which Pillow has no mode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.errors import how_to_install
from terrasynth.training.data.image_rules import HOW, ImageRule, check_size
from terrasynth.training.errors import ImageError

DRIVERS = ["GTiff", "PNG", "JP2OpenJPEG"]  # others of GDAL read further files, and addresses, that a file names


def read_bands(data: bytes, rule: ImageRule, stated: tuple[int, ...] | None) -> Image.Image:
    """Red, green and blue, or gray, of a file's bands.

    Args:
        data: The bytes of the file.
        rule: What the user states of its pixels. Where that names no bands, an alpha band counts.
        stated: The three bands, or the one, from 1, that the file's tags say; None for those that GDAL finds.

    Raises:
        ImageError: rasterio is not installed, there is no such band, or values take a range that is not stated.
        Exception: Whatever a broken file makes of GDAL.
    """
    try:
        import rasterio
    except ImportError:
        raise ImageError(f"its bands take rasterio, which is not installed; {how_to_install('geo')}") from None
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"), \
            rasterio.MemoryFile(data) as memory, memory.open(driver=DRIVERS) as file:
        check_size(file.width, file.height)
        kinds = [interpretation.name for interpretation in file.colorinterp]
        wanted = rule.bands or stated or _named(kinds)
        if missing := [band for band in wanted if band > file.count]:
            raise ImageError(f"{file.count} bands, and band {missing[0]} is asked for")
        made = [_band(file.read(band), rule, file.nodatavals[band - 1]) for band in wanted]
        if rule.bands is None and "alpha" in kinds:
            alpha = file.read(kinds.index("alpha") + 1)
            share = alpha.astype(np.float32) / np.iinfo(alpha.dtype).max
            made = [np.rint(band * share).astype(np.uint8) for band in made]
    return Image.fromarray(np.stack(made * (3 // len(made)), axis=-1))


def _band(values: NDArray[np.generic], rule: ImageRule, nodata: float | None) -> NDArray[np.uint8]:
    if np.iscomplexobj(values):
        raise ImageError("complex samples; save their magnitude")
    if values.dtype == np.uint8:
        shown = np.array(values, np.uint8)
        if nodata is not None:
            shown[values == nodata] = 0
        return shown
    return rule.to_8_bits(values, nodata)


def _named(kinds: list[str]) -> tuple[int, ...]:
    for names in (("red", "green", "blue"), ("gray",)):
        if all(name in kinds for name in names):
            return tuple(kinds.index(name) + 1 for name in names)
    raise ImageError(f"bands called {', '.join(kinds)}; which are red, green and blue is not guessed; {HOW}: "
                     "bands: [3, 2, 1]")
