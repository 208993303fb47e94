"""Contact sheets: small images, or pairs of them, in a grid, with class and scores written under each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from terrasynth.eval.copies.perceptual_hash import turned

THUMB = 128
COLUMNS = 8
GAP = 12
TITLE_SIZES, SMALL_SIZE = (14, 13, 12, 11), 12
# No one gray is readable on both a light and a dark page (4.1:1 at best), so a sheet has its own ground, ink and soft
# ink: those of the panels of a page.
GROUND, INK, SOFT_INK = LIGHT = (255, 255, 255), (29, 33, 39), (92, 99, 109)
DARK = (28, 31, 36), (232, 234, 237), (160, 167, 177)
MARGIN = 16
PAIRS_A_ROW = 3


@dataclass(frozen=True)
class SheetItem:
    """One image of a sheet.

    Attributes:
        image: `uint8` (H, W, 3).
        text: What the generator was asked for.
        scores: Filter -> score.
        reason: Why it was rejected; "" for an accepted one.
    """

    image: NDArray[np.uint8]
    label: str
    text: str
    scores: Mapping[str, float]
    reason: str = ""


@dataclass(frozen=True)
class PairItem:
    """One pair of a sheet.

    Attributes:
        image: `uint8` (H, W, 3).
        other: The image that it is nearest to, `uint8` (H, W, 3).
        other_label: What to call that one.
        view: How `image` is to be turned to lie on `other`; the sheet shows it so.
        scores: What to write under the first.
    """

    image: NDArray[np.uint8]
    label: str
    other: NDArray[np.uint8]
    other_label: str
    view: int
    scores: dict[str, float]


def contact_sheet(
    items: Sequence[SheetItem], columns: int = COLUMNS, thumb: int = THUMB, dark: bool = False
) -> Image.Image:
    """Draw a sheet, numbered from 1 row by row.

    Images are only resized: no contrast, color or crop is changed, so what is dull in the data looks dull here.

    Args:
        items: What to show, in order; at least one.
        columns: Images a row.
        thumb: Side of the square an image fits in, in pixels.
        dark: Whether it is for a dark page.

    Returns:
        An RGB image on a white ground, or on a dark one.

    Raises:
        ValueError: There is nothing to show, or an image is not `uint8` (H, W, 3).
    """
    if not items:
        raise ValueError("a contact sheet of no images: give at least one")
    captions = [_caption(number, item) for number, item in enumerate(items, start=1)]
    small_font, title_font = ImageFont.load_default(SMALL_SIZE), _title_font([title for title, _ in captions], thumb)
    lines = max(len(small) for _, small in captions)
    line_height = SMALL_SIZE + 3
    cell = thumb + GAP, thumb + 6 + TITLE_SIZES[0] + 4 + lines * line_height + GAP
    rows = -(-len(items) // columns)
    size = min(columns, len(items)) * cell[0] - GAP + 2 * MARGIN, rows * cell[1] - GAP + 2 * MARGIN
    ground, ink, soft_ink = DARK if dark else LIGHT
    sheet = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(sheet)
    for number, (item, (title, small)) in enumerate(zip(items, captions, strict=True)):
        left, top = MARGIN + number % columns * cell[0], MARGIN + number // columns * cell[1]
        picture = _thumbnail(item.image, thumb)
        sheet.paste(picture, (left + (thumb - picture.width) // 2, top + (thumb - picture.height) // 2))
        y = top + thumb + 6
        draw.text((left, y), _fit(title, title_font, thumb), ink, title_font)
        y += TITLE_SIZES[0] + 4
        for line in small:
            draw.text((left, y), _fit(line, small_font, thumb), soft_ink, small_font)
            y += line_height
    return sheet


def pair_sheet(pairs: Iterable[PairItem]) -> Image.Image:
    """Draw pairs, three a row, each image turned as its partner lies.

    Raises:
        ValueError: There are none.
    """
    items = []
    for pair in pairs:
        items.append(SheetItem(turned(pair.image[None], pair.view)[0], pair.label, "", pair.scores))
        items.append(SheetItem(pair.other, pair.other_label, "", {}))
    return contact_sheet(items, columns=2 * PAIRS_A_ROW)


def _caption(number: int, item: SheetItem) -> tuple[str, list[str]]:
    small = [f"{name} {score:.3f}" for name, score in item.scores.items()]
    return f"{number}. {item.label}", [*small, *([f"rejected: {item.reason}"] if item.reason else [])]


def _title_font(titles: Sequence[str], width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest of `TITLE_SIZES` at which every title fits the width, or else the smallest."""
    fonts = [ImageFont.load_default(size) for size in TITLE_SIZES]
    return next((font for font in fonts if all(font.getlength(title) <= width for title in titles)), fonts[-1])


def _thumbnail(image: NDArray[np.uint8], side: int) -> Image.Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image of dtype {image.dtype}, shape {image.shape}, where uint8 (H, W, 3) is needed")
    picture = Image.fromarray(image)
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    # Enlarged pixels stay squares: a small image must not look smoother than it is.
    return picture.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut a text to a width in pixels, with an ellipsis where something is missing."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
