"""The guard of the real test split by layout, by detail and by pictures laid over each other."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from terrasynth.eval import ThumbnailEncoder
from terrasynth.eval.copies.memorisation import LEVEL
from terrasynth.synthesis.export.guard import TestGuard
from terrasynth.synthesis.filters.training_features import TrainingFeatures, orientations
from terrasynth.training.data import Pair
from tests.eval.copies.test_registration import CHANGES, scenes, seen
from tests.synthesis.filters.test_near_copies import SIZE, compressed, each, fields

N, TESTS = 30, 100


def pairs_of(train, test):
    return [
        Pair(f"{split}-{row}", "agricultural", split, ("a field",), lambda picture=picture: Image.fromarray(picture))
        for split, pictures in (("train", train), ("test", test)) for row, picture in enumerate(pictures)
    ]


@pytest.fixture(scope="module")
def train():
    return fields(N, 1)


@pytest.fixture(scope="module")
def test():
    return fields(TESTS, 2)


@pytest.fixture(scope="module")
def guard(train, test):
    return TestGuard(pairs_of(train, test), (SIZE, SIZE))


def refused(guard, pictures):
    return np.array([found is not None for found in guard.near(pictures)])


@pytest.mark.parametrize(
    "copied",
    [
        lambda images: images,
        lambda images: np.concatenate(orientations(images[:8])),
        lambda images: each(images, compressed),
        lambda images: each(images, lambda picture: picture.filter(ImageFilter.GaussianBlur(1))),
    ],
    ids=["exact", "turned", "compressed", "blurred"],
)
def test_copies_of_test_pictures_are_refused_and_of_training_pictures_are_not(guard, train, test, copied):
    assert refused(guard, copied(test[:N])).all()
    assert not refused(guard, copied(train)).any()


def test_the_detail_finds_what_the_layout_misses(guard, test):
    copies = each(test[:N], compressed)
    known, found = (ThumbnailEncoder().encode_images(images) for images in (test[:N], copies))
    by_layout = 1 - (found * known).sum(1) < guard.thresholds["layout"]
    assert not by_layout.all()
    said = [each.detail for each in guard.near(copies)]
    assert all(f" from test image test-{row}, threshold " in text for row, text in enumerate(said))
    assert {"(1 - similarity by layout)", "(1 - similarity by detail)"} == {text[text.index("(") :] for text in said}


def test_other_fields_pass_even_in_the_colour_of_a_test_picture(guard, test):
    others = fields(N, 3).astype(float)
    recoloured = others - others.mean((1, 2), keepdims=True) + test[:N].mean((1, 2), keepdims=True)
    assert refused(guard, recoloured.clip(0, 255).astype(np.uint8)).mean() < 0.2


def test_each_threshold_is_what_one_in_a_hundred_test_pictures_is_nearer_than(train):
    tests = fields(TESTS + 1, 4)
    guard = TestGuard(pairs_of(train, tests), (SIZE, SIZE))
    known = TrainingFeatures.of(ThumbnailEncoder(), train, True, {}).pictures
    distances = 1 - known.closeness(ThumbnailEncoder().with_detail(tests))
    expected = np.sort(distances)[:, int(LEVEL * len(tests))]
    assert list(guard.thresholds.values()) == pytest.approx(list(expected), abs=5e-3)  # kept in half precision
    with_copies = TestGuard(pairs_of(train, np.concatenate([tests, train[:3]])), (SIZE, SIZE))
    assert with_copies.thresholds == guard.thresholds


def test_test_pictures_that_all_are_training_pictures_refuse_exact_copies_alone(train):
    guard = TestGuard(pairs_of(train[:4], train[:4]), (SIZE, SIZE))
    assert guard.thresholds == {"layout": 0, "detail": 0, "registered": 0}
    assert not refused(guard, fields(8, 5)).any()


@pytest.fixture(scope="module")
def of_scenes():
    """Training scenes, test scenes, and their guard."""
    own, large = scenes(N, 1), scenes(TESTS, 3)
    return own, large, TestGuard(pairs_of(seen(own), seen(large)), (SIZE, SIZE))


@pytest.mark.parametrize("change", ["2 px along both axes", "a corner cut off", "3 degrees"])
def test_a_test_picture_that_was_moved_or_turned_besides_is_refused(of_scenes, change):
    own, large, guard = of_scenes
    copies = CHANGES[change](large[:20])
    assert refused(guard, copies).mean() > 0.9
    assert refused(guard, orientations(copies)[5]).mean() > 0.9
    assert not refused(guard, CHANGES[change](own)).any()


def test_other_scenes_pass(of_scenes):
    assert refused(of_scenes[2], seen(scenes(30, 2))).mean() < 0.2


def test_of_a_handful_of_test_pictures_the_detail_has_no_threshold(guard, train, test):
    few = TestGuard(pairs_of(train[:5], test[: TESTS - 1]), (SIZE, SIZE))
    assert few.thresholds["detail"] == 0 < guard.thresholds["detail"]  # which has one more
    assert few.thresholds["layout"] > 0
    assert refused(few, test[:3]).all()
