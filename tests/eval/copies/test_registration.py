"""Pictures laid over each other: what was moved is found, what is another picture is not."""

import numpy as np
import pytest
from PIL import Image

from terrasynth.eval.copies.memorisation import LEVEL, memorisation
from terrasynth.eval.copies.perceptual_hash import VIEWS, turned
from terrasynth.eval.copies.registration import CANDIDATES, Registration, register, relief
from terrasynth.eval.errors import InputError
from terrasynth.eval.models.thumbnail import PARTS, ThumbnailEncoder
from terrasynth.synthesis.studies.copies import load_measures

SIDE, N, MARGIN = 128, 16, 16
LAYOUT = PARTS["layout"]
BICUBIC = Image.Resampling.BICUBIC


def scenes(n, seed):
    """Larger pictures (N, 160, 160, 3) of one class: a layout that they share, a texture and roofs of their own."""
    generator = np.random.default_rng(seed)
    shared = texture(np.random.default_rng(0), 1.6)
    side = SIDE + 2 * MARGIN
    found = np.empty((n, side, side, 3))
    for scene in found:
        ground = 30 * shared + 14 * texture(generator, 0.6)
        scene[...] = 110 + ground[..., None] + generator.uniform(-20, 20, 3)
        for _ in range(8):
            top, left, height, width = generator.integers([0, 0, 6, 6], [side, side, 20, 20])
            scene[top : top + height, left : left + width] += generator.uniform(-50, 50)
    return found.clip(0, 255).astype(np.uint8)


def texture(generator, slope):
    """Noise with a variance of 1 whose amplitude falls with the frequency to this power."""
    side = SIDE + 2 * MARGIN
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None]) + 1 / side
    found = np.fft.ifft2(np.fft.fft2(generator.normal(size=(side, side))) / frequency**slope).real
    return (found - found.mean()) / found.std()


def seen(large, change=lambda picture: picture):
    """The middle of larger pictures after a change, so that no edge is empty."""
    box = (MARGIN, MARGIN, MARGIN + SIDE, MARGIN + SIDE)
    return np.stack([np.asarray(change(Image.fromarray(one)).crop(box)) for one in large])


def parts(images):
    rows = ThumbnailEncoder().with_detail(images)
    return rows[:, :LAYOUT], rows[:, LAYOUT:]


def moved(right, down):
    return lambda picture: picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, right, 0, 1, down), BICUBIC)


def enlarged(box):
    """What lies in this box of the middle, as large as the middle."""
    return lambda large: np.stack([np.asarray(Image.fromarray(one).resize((SIDE, SIDE), BICUBIC, box=box))
                                   for one in seen(large)])


CHANGES = {
    "as it is": seen,
    "2 px along both axes": lambda large: seen(large, moved(2, 2)),
    "4 px along both axes": lambda large: seen(large, moved(-4, 4)),
    "7 px": lambda large: seen(large, moved(7, 0)),
    "a corner cut off": enlarged((6, 6, SIDE, SIDE)),
    "the middle": enlarged((4, 4, SIDE - 4, SIDE - 4)),
    "3 degrees": lambda large: seen(large, lambda picture: picture.rotate(3, BICUBIC)),
    "-5 degrees": lambda large: seen(large, lambda picture: picture.rotate(-5, BICUBIC)),
}


@pytest.fixture(scope="module")
def known():
    return scenes(N, 1)


@pytest.fixture(scope="module")
def strangers():
    return seen(scenes(100, 2))


@pytest.fixture(scope="module")
def registration(known):
    return Registration(*parts(seen(known)))


def nearest(registration, images):
    layout, detail = parts(images)
    return registration.nearest(layout[None], detail[None])


@pytest.fixture(scope="module")
def limit(registration, strangers):
    """What other pictures correlate with any of these, but for one of a hundred."""
    return np.quantile(nearest(registration, strangers).correlation[:, 0], 0.99)


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_moved_lies_on_its_own_picture_better_than_others_on_any(registration, known, limit, change):
    found = nearest(registration, CHANGES[change](known))
    caught = (found.index[:, 0] == np.arange(N)) & (found.correlation[:, 0] > limit)
    assert caught.mean() > 0.9


def test_cell_by_cell_these_are_not_found(known, strangers):
    """Why they are laid over each other at all."""
    own, others = parts(seen(known)), parts(strangers)
    copies = parts(CHANGES["a corner cut off"](known))
    missed = np.ones(N, bool)
    for copy, picture, stranger in zip(copies, own, others, strict=True):
        missed &= (copy * picture).sum(1) < np.quantile((stranger @ picture.T).max(1), 0.99)
    assert missed.mean() > 0.5


@pytest.mark.parametrize("view", range(VIEWS))
def test_a_view_that_was_moved_is_found_among_views(registration, known, view):
    """The eight views of one picture are asked for at once; it lies over the one that fits."""
    copies = turned(CHANGES["2 px along both axes"](known), view)
    layout, detail = zip(*(parts(turned(copies, each)) for each in range(VIEWS)), strict=True)
    found = registration.nearest(np.stack(layout), np.stack(detail))
    assert (found.index[:, 0] == np.arange(N)).mean() > 0.9


def test_the_order_and_the_number_of_queries_do_not_matter(registration, strangers):
    whole = nearest(registration, strangers[:40])
    apart = [nearest(registration, strangers[row : row + 1]) for row in range(40)]
    assert np.array_equal(whole.index, np.concatenate([each.index for each in apart]))
    assert np.allclose(whole.correlation, np.concatenate([each.correlation for each in apart]), atol=1e-5)
    assert whole.index.shape == (40, CANDIDATES)
    assert (np.diff(whole.correlation, axis=1) <= 0).all()


def test_fewer_known_pictures_than_candidates_are_all_of_them(known):
    few = Registration(*parts(seen(known)[:2]))
    assert nearest(few, seen(known)[:5]).index.shape == (5, 2)


def test_equal_pictures_correlate_wholly_and_even_ones_not_at_all(known):
    rows = relief(*parts(seen(known)))
    assert register(rows, rows) == pytest.approx(np.ones(N), abs=1e-4)
    even = relief(*parts(np.full((N, SIDE, SIDE, 3), 90, np.uint8)))
    assert not even.any()
    assert np.abs(register(rows, even)).max() < 1e-3
    assert np.isfinite(register(even, even)).all()


def test_memorisation_by_it_finds_crops_that_the_other_measures_miss(known, strangers):
    found = memorisation(CHANGES["a corner cut off"](known), seen(known), strangers[:40],
                         load_measures(["thumbnail", "detail", "registered"])).measures
    shares = {one.measure: one.share.value for one in found}
    assert shares["registered"] > 0.9 > shares["thumbnail"]
    assert shares["registered"] > shares["detail"]
    assert found[-1].network == {"kind": "registered", "candidates": CANDIDATES}
    assert found[-1].null <= LEVEL
    assert not found[-1].exact


def test_pictures_that_are_too_small_for_a_detail_are_refused():
    with pytest.raises(InputError, match="32"):
        next(iter(load_measures(["registered"])[0].views(np.zeros((2, 16, 16, 3), np.uint8))))
