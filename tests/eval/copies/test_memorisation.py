import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from terrasynth.eval.copies.measures import FeatureMeasure, HashMeasure, nearest_picture, pixel_hash
from terrasynth.eval.copies.memorisation import ANY_MIX, SAME_MIX, memorisation
from terrasynth.eval.copies.perceptual_hash import VIEWS, turned
from terrasynth.eval.errors import InputError
from terrasynth.eval.models.thumbnail import ThumbnailEncoder
from terrasynth.eval.pages.sheets import PairItem, pair_sheet
from tests.tiny import tiny_pictures

REAL = tiny_pictures(600, 32)
TRAIN, HELD_OUT, OTHERS = REAL[:200], REAL[200:400], REAL[400:]
MEASURES = (HashMeasure(), FeatureMeasure("thumbnail", ThumbnailEncoder()))


def _jpeg(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=80)
    return Image.open(buffer).convert("RGB")


def _each(pictures, change):
    return np.stack([np.asarray(change(Image.fromarray(picture))) for picture in pictures])


CHANGES = {
    "as they are": lambda pictures: pictures,
    "turned": lambda pictures: np.concatenate([turned(pictures[n : n + 1], n % 8) for n in range(len(pictures))]),
    "blurred": lambda pictures: _each(pictures, lambda one: one.filter(ImageFilter.GaussianBlur(0.6))),
    "JPEG": lambda pictures: _each(pictures, _jpeg),
    "turned, then JPEG": lambda pictures: _each(turned(pictures, 5), _jpeg),
}


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found_with_their_originals(change):
    planted = CHANGES[change](TRAIN[:10])
    found = memorisation(np.concatenate([OTHERS[:90], planted]), TRAIN, HELD_OUT, MEASURES, pairs=12)
    assert found.exact_copies == (10 if change in ("as they are", "turned") else 0)
    by_layout = [pair for pair in found.pairs if pair.measure == "thumbnail"]
    originals = {pair.row - 90: pair.train_row for pair in by_layout if pair.near}
    assert all(originals.get(row) == row for row in range(10))
    share = found.measures[1].share
    assert 0.1 <= share.value < 0.16
    assert share.low > found.measures[1].null


def test_pictures_that_were_not_copied_are_as_near_as_held_out_ones():
    found = memorisation(OTHERS, TRAIN, HELD_OUT, MEASURES)
    for one in found.measures:
        assert one.null <= 0.01
        assert one.share.low <= 0.01 <= one.share.high
        ours, theirs = one.quantiles["0.5"]
        assert ours == pytest.approx(theirs, rel=0.1)
    assert found.measures[0].crowded is None  # whole bits: most distances are equal
    assert abs(found.measures[1].crowded.value - found.measures[1].null_crowded.value) < 0.1
    assert (found.exact_copies, found.held_out_copies, found.mix) == (0, 0, ANY_MIX)


def test_held_out_pictures_judged_by_themselves_are_at_the_level():
    found = memorisation(HELD_OUT, TRAIN, HELD_OUT, MEASURES[1:]).measures[0]
    assert found.share.value == found.null
    assert 0.005 <= found.null <= 0.01


def test_classes_that_are_all_alike_are_no_copies():
    generator = np.random.default_rng(0)
    alike = np.clip(tiny_pictures(1, 32, seed=7) + generator.normal(0, 6, (300, 32, 32, 3)), 0, 255).astype(np.uint8)
    train = np.concatenate([TRAIN, alike[:100]])
    held_out = np.concatenate([HELD_OUT, OTHERS[20:], alike[100:103]])
    judged = np.concatenate([OTHERS[:20], alike[200:]])
    names = [["varied"] * n + ["alike"] * m for n, m in ((20, 100), (380, 3))]
    blind = memorisation(judged, train, held_out, MEASURES[1:]).measures[0]
    found = memorisation(judged, train, held_out, MEASURES[1:], labels=names[0], held_out_labels=names[1])
    assert found.mix == SAME_MIX
    assert blind.share.value > 0.5  # more of the uniform class than among the held-out pictures
    assert found.measures[0].share.value < 0.4
    assert found.measures[0].per_class["alike"][1] == 100


def test_a_class_without_held_out_pictures_leaves_the_null_as_it_is():
    labels = ["a"] * 100 + ["b"] * 100
    found = memorisation(OTHERS, TRAIN, HELD_OUT, MEASURES[:1], labels=labels, held_out_labels=["a"] * 200)
    assert found.mix == ANY_MIX


def test_copies_among_the_held_out_are_no_part_of_the_null():
    leaky = np.concatenate([HELD_OUT, TRAIN[:20]])
    found = memorisation(OTHERS, TRAIN, leaky, MEASURES[1:])
    assert (found.held_out_copies, found.n_held_out) == (20, 200)
    assert found.measures[0].threshold == memorisation(OTHERS, TRAIN, HELD_OUT, MEASURES[1:]).measures[0].threshold
    with pytest.raises(InputError, match="each of 20 held-out images is a training image"):
        memorisation(OTHERS, TRAIN, TRAIN[:20], MEASURES)


def test_the_same_call_gives_the_same_figures():
    one, other = (memorisation(OTHERS, TRAIN, HELD_OUT, MEASURES, seed=3) for _ in range(2))
    assert one == other
    assert one.to_json() == other.to_json()


def test_the_lines_name_numbers_null_seed_and_network():
    lines = memorisation(OTHERS, TRAIN, HELD_OUT, MEASURES, seed=3).lines()
    assert lines[0] == ("200 images against 200 training images in 8 views; null: 200 held-out real images, "
                        "classes as they come; seed 3")
    assert [line.rpartition("; by ")[2] for line in lines if "; by " in line] == ["perceptual hash", "thumbnail"]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_turned_original_is_found_with_the_way_it_was_turned(measure):
    described = next(iter(measure.views(TRAIN, 1)))
    for view in range(VIEWS):
        found = nearest_picture(measure, turned(TRAIN[:20], view), described)
        back = np.concatenate([turned(turned(TRAIN[n : n + 1], view), int(found.view[n])) for n in range(20)])
        assert (found.index == np.arange(20)).all()
        assert (back == TRAIN[:20]).all()


def test_a_dual_encoder_measures_too(clip_folder):
    from terrasynth.eval.models.loaders import load_encoder

    encoder = load_encoder(clip_folder)
    found = memorisation(TRAIN[:5], TRAIN[:50], HELD_OUT[:20], [FeatureMeasure("tiny", encoder)])
    assert found.measures[0].network == encoder.identity()
    assert found.measures[0].share.value == 1


def test_pixels_and_shape_make_the_hash():
    assert len({pixel_hash(one) for one in TRAIN}) == len(TRAIN)
    assert pixel_hash(TRAIN[0]) == pixel_hash(TRAIN[0].copy())
    assert pixel_hash(TRAIN[0]) != pixel_hash(TRAIN[0].reshape(16, 64, 3))


def test_pairs_are_shown_side_by_side():
    pairs = [PairItem(turned(TRAIN[n : n + 1], 1)[0], "a", TRAIN[n], "train a", 3, {"distance": 0.1}) for n in range(4)]
    sheet = np.asarray(pair_sheet(pairs))
    place = [(row, column) for row in (16,) for column in (16, 16 + 128 + 12)]
    first, second = (sheet[row : row + 128 : 4, column : column + 128 : 4] for row, column in place)
    assert (first == TRAIN[0]).all()
    assert (second == TRAIN[0]).all()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="200 images and 3 labels"):
        memorisation(OTHERS, TRAIN, HELD_OUT, MEASURES, labels=["a"] * 3)
    with pytest.raises(InputError, match=r"\(16, 16\) and \(32, 32\) px"):
        memorisation(OTHERS[:, :16, :16], TRAIN, HELD_OUT, MEASURES)
    with pytest.raises(InputError, match="0 images"):
        memorisation(OTHERS[:0], TRAIN, HELD_OUT, MEASURES)
