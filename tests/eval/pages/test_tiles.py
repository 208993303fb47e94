"""Tiles: the image as it is, at its place, and no pixel of its neighbor."""

import io

import numpy as np
import pytest
from PIL import Image

from terrasynth.eval.pages.tiles import (
    ACROSS,
    MARGIN,
    MOST_SIDE,
    PER_SHEET,
    TileSize,
    note_of,
    overlay_sheet,
    sheet_name,
    tile_jpeg,
    tile_sheet,
)

RNG = np.random.default_rng(0)


def pixels(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


def place(sheet, number, size):
    row, column = divmod(number, ACROSS)
    across, down = size.pitch
    top, left = row * down + MARGIN, column * across + MARGIN
    return sheet[top : top + size.height, left : left + size.width]


@pytest.mark.parametrize(("width", "height"), [(128, 128), (100, 60), (33, 47)])
def test_each_tile_is_its_image_at_its_place(width, height):
    size = TileSize.of((width, height))
    assert size == TileSize(width, height)
    flat = [np.full((height, width, 3), color, np.uint8) for color in RNG.integers(0, 256, (PER_SHEET, 3))]
    sheet = pixels(tile_sheet(flat, size))
    assert sheet.shape == (ACROSS * size.pitch[1], ACROSS * size.pitch[0], 3)
    for number, image in enumerate(flat):  # to its edge, whatever its neighbors are
        assert np.abs(place(sheet, number, size) - image).max() <= 3


def test_what_is_in_an_image_stays_in_it():
    size = TileSize(64, 64)
    smooth = np.stack(np.meshgrid(np.arange(64), np.arange(64), [0])[:2], -1)[..., 0, :] * 2
    image = np.concatenate([smooth, smooth[..., :1] // 2 + 60], -1).astype(np.uint8)
    sheet = pixels(tile_sheet([image] * 5, size))
    for number in range(5):
        assert np.abs(place(sheet, number, size) - image).mean() < 1.5
    assert place(sheet, 5, size).max() < 3  # nothing there


def test_larger_images_are_made_smaller_in_their_shape():
    size = TileSize.of((1024, 512))
    assert size == TileSize(MOST_SIDE, MOST_SIDE // 2)
    assert pixels(tile_jpeg(np.full((512, 1024, 3), 77, np.uint8), size)).shape == (MOST_SIDE // 2, MOST_SIDE, 3)
    assert TileSize.of((20_000, 10)).height == 1


def test_a_sheet_keeps_its_note_in_its_first_bytes_and_equal_images_give_equal_bytes():
    images = [RNG.integers(0, 256, (128, 128, 3), np.uint8) for _ in range(PER_SHEET)]
    sheet = tile_sheet(images, TileSize(128, 128), "terrasynth " + "0" * 64)
    assert note_of(sheet[:1024]) == "terrasynth " + "0" * 64
    assert sheet == tile_sheet(images, TileSize(128, 128), "terrasynth " + "0" * 64)
    for other in (b"", b"GIF89a", tile_sheet(images, TileSize(128, 128)), sheet[:40]):
        assert note_of(other) is None


@pytest.mark.parametrize("count", [0, PER_SHEET + 1])
def test_no_sheet_of_none_or_of_too_many(count):
    with pytest.raises(ValueError, match=f"a sheet of {count} tiles"):
        tile_sheet([np.zeros((8, 8, 3), np.uint8)] * count, TileSize(8, 8))


def test_files_are_named_by_class_and_number():
    assert sheet_name("dense residential", 7) == "images-dense residential-00007.jpg"
    assert sheet_name("beach", 0, "after-labels") == "images-beach-00000-after-labels.png"


def test_what_lies_over_tiles_lies_where_they_do_and_keeps_its_colors():
    size, colors = TileSize(20, 12), [(0, 0, 0, 0), (10, 20, 30, 40), (200, 100, 50, 255)]
    overlays = [np.random.default_rng(seed).integers(0, 3, (12, 20), dtype=np.uint8) for seed in range(6)]
    sheet = overlay_sheet(overlays, colors, size, "over")
    shown, (across, down) = np.array(Image.open(io.BytesIO(sheet)).convert("RGBA")), size.pitch
    for place, overlay in enumerate(overlays):
        top, left = place // ACROSS * down + MARGIN, place % ACROSS * across + MARGIN
        assert (shown[top : top + 12, left : left + 20] == np.array(colors)[overlay]).all()
        shown[top : top + 12, left : left + 20] = 0
    assert not shown.any()
    assert note_of(sheet[:1024]) == "over"
    assert note_of(overlay_sheet(overlays, colors, size)[:1024]) is None
    for count in (0, 17):
        with pytest.raises(ValueError, match=f"a sheet of {count} tiles"):
            overlay_sheet(overlays[:1] * count, colors, size)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (31, 40), (1, 1)])
def test_margins_go_on_as_the_edges_are(width, height):
    size = TileSize(width, height)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    across, down = size.pitch
    padded = np.pad(image, ((4, down - height - 4), (4, across - width - 4), (0, 0)), mode="edge")
    sheet = np.zeros((4 * down, 4 * across, 3), np.uint8)
    sheet[down : 2 * down, across : 2 * across] = padded
    expected = io.BytesIO()
    Image.fromarray(sheet).save(expected, "JPEG", quality=90, subsampling=0)
    black = np.zeros_like(image)
    assert tile_sheet([*[black] * 5, image], size) == expected.getvalue()
