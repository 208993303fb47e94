import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import uniform_filter

from terrasynth.eval.errors import InputError
from terrasynth.eval.images import LUMA
from terrasynth.eval.models.thumbnail import PARTS, SIDE, ThumbnailEncoder
from tests.tiny import tiny_pictures

ENCODER = ThumbnailEncoder()


def test_cells_are_the_area_means_that_pillow_gives():
    pictures = tiny_pictures(3, size=64)
    for picture, found in zip(pictures, ENCODER.encode_images(pictures), strict=True):
        channels = [Image.fromarray(picture[..., c]).convert("F").reduce(64 // SIDE) for c in range(3)]
        cells = np.stack([np.asarray(channel, np.float64) for channel in channels], -1)
        cells -= cells.mean((0, 1))
        assert np.allclose(found, (cells / np.linalg.norm(cells)).ravel(), atol=1e-5)


def test_detail_is_what_stands_out_from_its_surroundings():
    pictures = tiny_pictures(3, size=128)
    for picture, found in zip(pictures, ENCODER.with_detail(pictures), strict=True):
        grey = np.asarray(Image.fromarray((picture @ LUMA).astype(np.float32)).reduce(4), np.float64)
        detail = (grey - uniform_filter(grey, 5, mode="reflect")).ravel()
        assert np.allclose(found[768:], detail / np.linalg.norm(detail), atol=1e-5)
    assert np.array_equal(ENCODER.with_detail(pictures)[:, :768], ENCODER.encode_images(pictures))
    assert sum(PARTS.values()) == ENCODER.with_detail(pictures).shape[1]
    assert not ENCODER.with_detail(np.full((1, 37, 51, 3), 90, np.uint8)).any()


def test_copies_are_near_and_siblings_are_not():
    first, other = tiny_pictures(2, size=64, seed=3)
    brighter = np.clip(first.astype(float) * 0.8 + 20, 0, 255).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 8, first.shape)
    noisy = np.clip(first + noise, 0, 255).astype(np.uint8)
    embedded = ENCODER.encode_images(np.stack([first, first, brighter, noisy, other]))
    similarity = embedded @ embedded[0]
    assert similarity[1] == pytest.approx(1, abs=1e-6)
    assert similarity[2] > 0.99
    assert similarity[3] > 0.95
    assert similarity[4] < 0.8


def test_sizes_that_16_does_not_divide_and_even_pictures():
    odd = np.random.default_rng(0).integers(0, 256, (2, 37, 51, 3), np.uint8)
    assert np.allclose(np.linalg.norm(ENCODER.encode_images(odd), axis=1), 1, atol=1e-6)
    assert not ENCODER.encode_images(np.full((1, 32, 32, 3), 90, np.uint8)).any()


def test_what_it_cannot_do_is_said():
    with pytest.raises(InputError, match="smaller than a thumbnail of 16"):
        ENCODER.encode_images(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="smaller than a thumbnail of 32"):
        ENCODER.with_detail(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="reads no text"):
        ENCODER.score(tiny_pictures(1), ["a"])
