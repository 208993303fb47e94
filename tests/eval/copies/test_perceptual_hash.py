import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from terrasynth.eval.copies.perceptual_hash import BITS, VIEWS, perceptual_hashes, turned
from tests.tiny import tiny_pictures


def _bits(one, other):
    return np.unpackbits(one ^ other, axis=-1).sum(-1)


def _each(pictures, change):
    return np.stack([np.asarray(change(Image.fromarray(picture))) for picture in pictures])


def _jpeg(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=60)
    return Image.open(buffer).convert("RGB")


def test_the_transform_is_the_cosine_transform_of_scipy():
    from scipy.fft import dctn

    picture = tiny_pictures(1, 32)
    grey = np.asarray(Image.fromarray(picture[0]).convert("L"), np.float64)
    low = dctn(grey, norm="ortho")[:8, :8]
    expected = np.packbits((low > np.median(low)).reshape(-1))
    assert (perceptual_hashes(picture)[0, 0] == expected).all()


@pytest.mark.parametrize("view", range(VIEWS))
def test_a_turned_picture_has_the_hash_that_was_foretold(view):
    pictures = tiny_pictures(12, 48)
    assert (perceptual_hashes(turned(pictures, view))[:, 0] == perceptual_hashes(pictures)[:, view]).all()


def test_the_eight_views_are_eight():
    picture = tiny_pictures(1, 40)
    assert len({turned(picture, view).tobytes() for view in range(VIEWS)}) == VIEWS
    assert (turned(picture, 0) == picture).all()


def test_copies_are_near_and_other_pictures_are_not():
    pictures = tiny_pictures(40, 64)
    hashes = perceptual_hashes(pictures)[:, 0]
    changes = (_jpeg, lambda p: p.filter(ImageFilter.GaussianBlur(1)), lambda p: p.resize((48, 48)),
               lambda p: p.point(lambda value: value * 0.9))
    for change in changes:
        away = _bits(perceptual_hashes(_each(pictures, change))[:, None, 0], hashes[None])
        assert (away.argmin(1) == np.arange(40)).mean() > 0.95
        assert np.median(np.diag(away)) <= BITS / 8
    others = _bits(hashes[:, None], hashes[None])[np.triu_indices(40, 1)]
    assert abs(others.mean() - BITS / 2) < 4


def test_a_picture_without_detail_hashes_alike_whatever_its_colour():
    flat = np.broadcast_to(np.array([[0], [90], [255]], np.uint8)[:, None, None], (3, 40, 40, 3))
    assert (_bits(perceptual_hashes(flat)[1:, 0], perceptual_hashes(flat)[1:2, 0]) == 0).all()
    assert (perceptual_hashes(flat[:1]) == 0).all()


def test_only_pictures_are_hashed():
    with pytest.raises(TypeError, match="uint8"):
        perceptual_hashes(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match=r"\(N, H, W, 3\)"):
        perceptual_hashes(np.zeros((8, 8, 3), np.uint8))
