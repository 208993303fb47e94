"""Images as people saw them: upright, transparent pixels black, deep pixels by a stated range or not at all."""

import io
import json
import struct

import numpy as np
import pytest
import rasterio
from PIL import Image

from terrasynth.synthesis.core.errors import RunError
from terrasynth.training.data import images
from terrasynth.training.data.image_rules import MOST_PIXELS, ImageRule
from terrasynth.training.data.images import image_in
from terrasynth.training.errors import ImageError
from tests.tiny import tiny_pictures
from tests.training.data.mutations import claimed, odd_images

PIXELS = tiny_pictures(1, size=24)[0][:, :16]
UNSTATED = ImageRule()
RANGE = ImageRule(range=(300.0, 2850.0))


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def raster(bands, driver="GTiff", **profile):
    """A file of rasterio; bands (B, H, W)."""
    with rasterio.MemoryFile() as memory:
        with memory.open(driver=driver, count=len(bands), height=bands.shape[1], width=bands.shape[2],
                         dtype=bands.dtype, **profile) as file:
            file.write(bands)
        return bytes(memory.read())


def deep(pixels):
    """Reflectances as a 12-bit sensor has them, (3, H, W)."""
    return np.moveaxis(pixels, 2, 0).astype(np.uint16) * 10 + 300


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "deflate", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(kind, orientation):
    picture = Image.fromarray(PIXELS)
    # What a viewer shows when it is told to turn; the inverse of each turn is stored.
    how = Image.Transpose
    undo = {2: how.FLIP_LEFT_RIGHT, 3: how.ROTATE_180, 4: how.FLIP_TOP_BOTTOM, 5: how.TRANSPOSE, 6: how.ROTATE_90,
            7: how.TRANSVERSE, 8: how.ROTATE_270}
    stored = picture.transpose(undo[orientation]) if orientation in undo else picture
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100},
               "deflate": {"compression": "tiff_deflate"}}.get(kind, {})
    name = "TIFF" if kind == "deflate" else kind
    shown = image_in(encoded(stored, name, exif=exif, **options), UNSTATED)
    assert shown.size == picture.size
    assert np.abs(np.asarray(shown, int) - PIXELS).mean() < (12 if kind == "AVIF" else 4)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientation_of_deep_pixels(orientation):
    data = encoded(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 10 + 300), "PNG")
    exif = Image.Exif()
    exif[0x112] = orientation
    turned = encoded(Image.open(io.BytesIO(data)), "PNG", exif=exif)
    shown = np.asarray(image_in(turned, RANGE))
    quarter = {1: 0, 3: 2, 6: -1}[orientation]
    np.testing.assert_array_equal(shown[..., 0], np.rot90(PIXELS[..., 0], quarter))


def _hidden(mode):
    """Red under a transparent left half, green under an opaque right one."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (255, 0, 0, 0)
    pixels[:, 4:] = (0, 200, 0, 255)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "PNG"),
                                            ("RGBA", "AVIF"), ("RGBA", "JPEG2000")])
def test_transparent_pixels_are_black(mode, kind):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    shown = np.asarray(image_in(encoded(_hidden(mode), kind, **options), UNSTATED), int)
    assert shown[:, :3].max() < 12
    assert shown[:, 5:, 1].min() > 100


def test_transparency_by_palette_and_by_key():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([9, 9, 9, 255, 0, 0])
    assert np.asarray(image_in(encoded(palette, "PNG", transparency=1), UNSTATED)).max() == 0
    assert np.asarray(image_in(encoded(palette, "GIF", transparency=1), UNSTATED)).max() == 0
    key = Image.new("RGB", (4, 4), (255, 0, 0))
    assert np.asarray(image_in(encoded(key, "PNG", transparency=(255, 0, 0)), UNSTATED)).max() == 0
    assert np.asarray(image_in(encoded(Image.new("L", (4, 4), 7), "PNG", transparency=7), UNSTATED)).max() == 0


def test_half_transparent_pixels_are_darker():
    pixels = np.full((4, 4, 4), (200, 100, 50, 128), np.uint8)
    np.testing.assert_allclose(np.asarray(image_in(encoded(Image.fromarray(pixels), "PNG"), UNSTATED))[0, 0],
                               (100, 50, 25), atol=1)


GRAY = PIXELS[..., 0].astype(np.uint16) * 10 + 300
DEEP = {
    "16-bit gray PNG": lambda: encoded(Image.fromarray(GRAY), "PNG"),
    "16-bit gray TIFF": lambda: encoded(Image.fromarray(GRAY), "TIFF"),
    "32-bit TIFF": lambda: encoded(Image.fromarray(GRAY.astype(np.int32)), "TIFF"),
    "float TIFF": lambda: encoded(Image.fromarray(GRAY.astype(np.float32)), "TIFF"),
    "16-bit PGM": lambda: b"P5 16 24 65535\n" + GRAY.astype(">u2").tobytes(),
    "16-bit JPEG 2000": lambda: raster(GRAY[None], "JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES"),
    "signed TIFF": lambda: raster(GRAY.astype(np.int16)[None]),
    "double TIFF": lambda: raster(GRAY.astype(np.float64)[None]),
    "unsigned 32-bit TIFF": lambda: raster(GRAY.astype(np.uint32)[None]),
    "16-bit RGB PNG": lambda: raster(deep(PIXELS), "PNG"),
    "16-bit RGB TIFF": lambda: raster(deep(PIXELS), photometric="RGB"),
    "16-bit RGB TIFF, deflated": lambda: raster(deep(PIXELS), photometric="RGB", compress="deflate"),
    "float RGB TIFF": lambda: raster(deep(PIXELS).astype(np.float32), photometric="RGB"),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_pixels_take_a_range(name):
    data = DEEP[name]()
    with pytest.raises(ImageError, match=r"samples, and which values are black and white is not guessed; state it"):
        image_in(data, UNSTATED)
    shown = np.asarray(image_in(data, RANGE))
    expected = PIXELS if "RGB" in name else np.repeat(PIXELS[..., :1], 3, axis=2)
    np.testing.assert_array_equal(shown, expected)


def test_deep_jpeg_2000_that_names_no_colors_takes_bands_too():
    data = raster(deep(PIXELS), "JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    for rule in (UNSTATED, RANGE):
        with pytest.raises(ImageError, match="which are red, green and blue is not guessed"):
            image_in(data, rule)
    rule = ImageRule((1, 2, 3), (300.0, 2850.0))
    np.testing.assert_array_equal(np.asarray(image_in(data, rule)), PIXELS)


def test_deep_ppm_of_three_colors_is_refused_by_either():
    data = b"P6 16 24 65535\n" + np.moveaxis(deep(PIXELS), 0, 2).astype(">u2").tobytes()
    for rule in (UNSTATED, RANGE):
        with pytest.raises(ImageError):
            image_in(data, rule)


def test_a_signed_byte_is_no_plain_pixel():
    data = raster(PIXELS[..., 0].view(np.int8)[None])
    with pytest.raises(ImageError, match="int8 samples"):
        image_in(data, UNSTATED)
    shown = np.asarray(image_in(data, ImageRule(range=(-128, 127))))
    np.testing.assert_array_equal(shown[..., 0], PIXELS[..., 0].view(np.int8).astype(int) + 128)


def test_no_data_is_black():
    values = GRAY.astype(np.float32)
    values[0], values[1], values[2] = np.nan, -9999, np.inf
    shown = np.asarray(image_in(raster(values[None], nodata=-9999), ImageRule(range=(300.0, 2850.0))))
    assert shown[:2].max() == 0
    assert shown[2].min() == 255
    np.testing.assert_array_equal(shown[3:, :, 0], PIXELS[3:, :, 0])


FOUR = np.concatenate([np.moveaxis(PIXELS, 2, 0)[::-1], 255 - np.moveaxis(PIXELS, 2, 0)[:1]])
MANY = {
    "two bands": lambda: raster(FOUR[:2]),
    "four bands, the last called alpha": lambda: raster(FOUR),
    "four bands, photometric RGB": lambda: raster(FOUR, photometric="RGB"),
    "five bands": lambda: raster(np.concatenate([FOUR, FOUR[:1]])),
    "five bands, photometric RGB": lambda: raster(np.concatenate([FOUR, FOUR[:1]]), photometric="RGB"),
    "three bands, no photometric": lambda: raster(FOUR[:3], photometric="MINISBLACK"),
}


@pytest.mark.parametrize("name", MANY)
def test_bands_are_asked_for_and_never_guessed(name):
    data = MANY[name]()
    with pytest.raises(ImageError, match=r"not guessed|may be near infrared") as refused:
        image_in(data, UNSTATED)
    assert "bands: [" in str(refused.value)
    if name == "two bands":
        shown = image_in(data, ImageRule(bands=(2,)))
        np.testing.assert_array_equal(np.asarray(shown)[..., 0], PIXELS[..., 1])
        with pytest.raises(ImageError, match="2 bands, and band 3 is asked for"):
            image_in(data, ImageRule(bands=(1, 2, 3)))
        return
    np.testing.assert_array_equal(np.asarray(image_in(data, ImageRule(bands=(3, 2, 1)))), PIXELS)


def test_thirteen_bands_of_sixteen_bits():
    bands = np.concatenate([deep(PIXELS)[::-1]] * 4 + [deep(PIXELS)[:1]])
    data = raster(bands)
    with pytest.raises(ImageError, match="13 bands"):
        image_in(data, UNSTATED)
    with pytest.raises(ImageError, match="uint16 samples"):
        image_in(data, ImageRule(bands=(3, 2, 1)))
    np.testing.assert_array_equal(np.asarray(image_in(data, ImageRule((3, 2, 1), (300, 2850)))), PIXELS)


def test_a_mask_is_an_alpha_band():
    masked = np.concatenate([np.moveaxis(PIXELS, 2, 0), np.full((1, 24, 16), 255, np.uint8)])
    masked[3, :4] = 0
    shown = np.asarray(image_in(raster(masked), UNSTATED))
    assert shown[:4].max() == 0
    np.testing.assert_array_equal(shown[4:], PIXELS[4:])


def test_tiff_pages():
    picture = Image.fromarray(PIXELS)
    with pytest.raises(ImageError, match="a TIFF file of 2 images"):
        image_in(encoded(picture, "TIFF", save_all=True, append_images=[picture]), UNSTATED)
    with rasterio.MemoryFile() as memory:  # overviews are pages too
        with memory.open(driver="GTiff", count=3, height=512, width=512, dtype="uint8", tiled=True) as file:
            file.write(np.zeros((3, 512, 512), np.uint8))
            file.build_overviews([2, 4])
        assert image_in(bytes(memory.read()), UNSTATED).size == (512, 512)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations_are_not_chosen_from(kind):
    frames = [Image.fromarray(pixels) for pixels in tiny_pictures(3, size=24)]
    with pytest.raises(ImageError, match="3 frames; which is meant is not guessed"):
        image_in(encoded(frames[0], kind, save_all=True, append_images=frames[1:]), UNSTATED)


@pytest.mark.parametrize("size", [(13_400, 13_400), (60_000, 60_000), (1, 2**31 - 1)])
def test_images_that_are_too_large_are_refused_before_they_are_decoded(size):
    assert size[0] * size[1] > MOST_PIXELS
    with pytest.raises(ImageError, match="pixels"):
        image_in(claimed(*size), UNSTATED)


def test_a_large_tiff_with_bands_is_refused_before_it_is_decoded():
    data = raster(np.zeros((4, 8, 8), np.uint16))
    # Width and height are the first two tags: 256 and 257, short.
    place = data.index(struct.pack("<HHIH", 256, 3, 1, 8))
    patched = data[: place + 8] + struct.pack("<H", 60_000) + data[place + 10 :]
    place = patched.index(struct.pack("<HHIH", 257, 3, 1, 8))
    patched = patched[: place + 8] + struct.pack("<H", 60_000) + patched[place + 10 :]
    with pytest.raises(ImageError, match="60000 x 60000 pixels"):
        image_in(patched, ImageRule((1, 2, 3), (0, 1)))


READ = {"jpeg", "jpeg turned", "jpeg turned wrongly", "webp", "cmyk", "gif", "bmp", "avif", "jpeg 2000", "ppm", "rgba",
        "palette", "la", "one bit", "one pixel", "line"}


@pytest.mark.parametrize("name", sorted(odd_images()))
def test_kinds_of_files(name, capfd):
    data = odd_images()[name]
    if name in READ:
        assert image_in(data, UNSTATED).mode == "RGB"
    else:
        with pytest.raises(ImageError) as refused:
            image_in(data, UNSTATED)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 240
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_a_lack_of_memory_is_no_broken_image(monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(images, "_read", full)
    with pytest.raises(RunError, match="free some memory"):
        image_in(b"", UNSTATED)


def test_without_rasterio_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImageError, match=r"pip install -c constraints\.txt '\.\[geo\]'"):
        image_in(DEEP["16-bit RGB TIFF"](), RANGE)


def test_a_list_of_deep_images_trains_with_a_data_yaml_and_is_named_without(tmp_path, capsys):
    from terrasynth.training.data import read_pairs
    from terrasynth.training.data.pictures import load_splits
    from terrasynth.training.errors import InputError

    folder = tmp_path / "d"
    folder.mkdir()
    rows = []
    for number in range(4):
        (folder / f"{number}.tif").write_bytes(DEEP["16-bit RGB TIFF"]())
        rows.append({"file": f"{number}.tif", "split": "train" if number < 2 else "val", "captions": "a"})
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"none of 2 images could be read; the last was 1\.tif: .*range: \[low"):
        load_splits(read_pairs(folder), 16)
    (tmp_path / "d.yaml").write_text("data: d\nrange: [300, 2850]\n")
    splits = load_splits(read_pairs(tmp_path / "d.yaml"), 16)
    assert len(splits["train"]) == len(splits["val"]) == 2
