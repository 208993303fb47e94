"""Small images of many, in JPEG files of a few: what a page without a server can load as it is scrolled."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

ACROSS, PER_SHEET = 4, 16
MOST_SIDE = 256
MARGIN, GRAIN = 4, 8
"""Pixels round a tile, and those of which a block of JPEG has 8: no tile shows the edge of its neighbor."""

AFTER, LABELS, LABELS_AFTER = "after", "labels", "after-labels"
LAYERS = {"": "jpg", AFTER: "jpg", LABELS: "png", LABELS_AFTER: "png"}
"""What a sheet may show of the same attempts -> the ending of its file: images, of pairs those after, and labels that
lie over these."""

ENCODED: dict[str, object] = {"format": "JPEG", "quality": 90, "subsampling": 0}
"""Full resolution of color: at half of it, single pixels of a small image lose theirs."""


@dataclass(frozen=True)
class TileSize:
    """How large tiles are and how they lie.

    Attributes:
        width: Of a tile in pixels.
        height: Of a tile in pixels.

    Example:
        >>> from terrasynth.eval.pages.tiles import TileSize
        >>> TileSize.of((512, 384)), TileSize(100, 128).pitch
        (TileSize(width=256, height=192), (112, 136))
    """

    width: int
    height: int

    @classmethod
    def of(cls, size: tuple[int, int]) -> TileSize:
        """The tiles of images of (width, height) pixels: as large, or smaller to have `MOST_SIDE` at the most."""
        scale = min(1.0, MOST_SIDE / max(size))
        return cls(max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))

    @property
    def pitch(self) -> tuple[int, int]:
        """From one tile to the next in pixels, across and down."""
        return tuple(-(-(side + 2 * MARGIN) // GRAIN) * GRAIN for side in (self.width, self.height))  # type: ignore[return-value]


def tile_of(image: NDArray[np.uint8], size: TileSize) -> NDArray[np.uint8]:
    """An image `uint8` (H, W, 3) in the size of a tile; one of that size is taken as it is."""
    if image.shape[:2] == (size.height, size.width):
        return image
    return np.asarray(Image.fromarray(image).resize((size.width, size.height), Image.Resampling.LANCZOS))


def tile_jpeg(image: NDArray[np.uint8], size: TileSize) -> bytes:
    """One tile as a file of its own."""
    return _jpeg(tile_of(image, size))


def tile_sheet(images: Sequence[NDArray[np.uint8]], size: TileSize, note: str = "") -> bytes:
    """A sheet of tiles, `ACROSS` a row and a column, as a JPEG file; equal images give equal bytes.

    One of fewer tiles is as large and ends in black: a page knows where a tile lies before the sheet is loaded.

    Args:
        images: At most `PER_SHEET`, each `uint8` (H, W, 3).
        size: Of the tiles.
        note: Is kept in the file as its comment.

    Raises:
        ValueError: There is none, or there are too many.

    Example:
        >>> import io
        >>> import numpy as np
        >>> from PIL import Image
        >>> from terrasynth.eval.pages.tiles import TileSize, note_of, tile_sheet
        >>> sheet = tile_sheet([np.zeros((32, 32, 3), np.uint8)] * 5, TileSize(32, 32), "five black ones")
        >>> Image.open(io.BytesIO(sheet)).size, note_of(sheet)
        ((160, 160), 'five black ones')
    """
    if not 0 < len(images) <= PER_SHEET:
        raise ValueError(f"a sheet of {len(images)} tiles: give 1 to {PER_SHEET}")
    across, down = size.pitch
    sheet = np.zeros((ACROSS * down, ACROSS * across, 3), np.uint8)
    bottom, right = MARGIN + size.height, MARGIN + size.width
    for place, image in enumerate(images):
        row, column = divmod(place, ACROSS)
        tile = sheet[row * down : (row + 1) * down, column * across : (column + 1) * across]
        # The margins go on as the edges are; what `np.pad` gives, in a fifth of the time.
        tile[MARGIN:bottom, MARGIN:right] = tile_of(image, size)
        tile[MARGIN:bottom, :MARGIN], tile[MARGIN:bottom, right:] = (
            tile[MARGIN:bottom, MARGIN : MARGIN + 1], tile[MARGIN:bottom, right - 1 : right])
        tile[:MARGIN], tile[bottom:] = tile[MARGIN], tile[bottom - 1]
    return _jpeg(sheet, note)


def overlay_sheet(
    overlays: Sequence[NDArray[np.uint8]], colors: Sequence[tuple[int, int, int, int]], size: TileSize, note: str = ""
) -> bytes:
    """A sheet of what lies over tiles, as a PNG file; see `tile_sheet`.

    Args:
        overlays: At most `PER_SHEET`, each `uint8` (height, width) of a tile: places in `colors`.
        colors: Red, green, blue and opacity, 0 to 255 each; the first one fills what is between tiles.
        size: Of the tiles.
        note: Is kept in the file as its comment.

    Raises:
        ValueError: There is none, or there are too many.

    Example:
        >>> import io
        >>> import numpy as np
        >>> from PIL import Image
        >>> from terrasynth.eval.pages.tiles import TileSize, note_of, overlay_sheet
        >>> colors = [(0, 0, 0, 0), (255, 0, 0, 128)]
        >>> sheet = overlay_sheet([np.ones((32, 32), np.uint8)], colors, TileSize(32, 32), "red")
        >>> Image.open(io.BytesIO(sheet)).convert("RGBA").getpixel((4, 4)), note_of(sheet)
        ((255, 0, 0, 128), 'red')
    """
    if not 0 < len(overlays) <= PER_SHEET:
        raise ValueError(f"a sheet of {len(overlays)} tiles: give 1 to {PER_SHEET}")
    across, down = size.pitch
    sheet = np.zeros((ACROSS * down, ACROSS * across), np.uint8)
    for place, overlay in enumerate(overlays):
        row, column = divmod(place, ACROSS)
        top, left = row * down + MARGIN, column * across + MARGIN
        sheet[top : top + size.height, left : left + size.width] = overlay
    return overlay_png(sheet, colors, note)


def overlay_png(overlay: NDArray[np.uint8], colors: Sequence[tuple[int, int, int, int]], note: str = "") -> bytes:
    """What lies over an image as a PNG file with a palette; see `overlay_sheet`."""
    picture, buffer, told = Image.fromarray(overlay), io.BytesIO(), PngInfo()
    picture.putpalette([part for color in colors for part in color[:3]])
    if note:
        told.add_text("comment", note)
    picture.save(buffer, "PNG", transparency=bytes(color[3] for color in colors), pnginfo=told)
    return buffer.getvalue()


def note_of(head: bytes) -> str | None:
    """The note in the beginning of a sheet, of which 1024 bytes are enough; None where it is none of ours."""
    try:
        with Image.open(io.BytesIO(head)) as sheet:
            comment = sheet.info.get("comment")
    except (OSError, ValueError, SyntaxError):
        return None
    return comment.decode("ascii", "replace") if isinstance(comment, bytes) else comment


def sheet_name(label: str, number: int, layer: str = "") -> str:
    """The file of the tiles of attempts `PER_SHEET * number` and so on of a class; of another layer of `LAYERS`."""
    return f"images-{label}-{number:05d}{layer and '-' + layer}.{LAYERS[layer]}"


def _jpeg(pixels: NDArray[np.uint8], note: str = "") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **ENCODED, **({"comment": note.encode("ascii")} if note else {}))  # type: ignore[arg-type]
    return buffer.getvalue()
