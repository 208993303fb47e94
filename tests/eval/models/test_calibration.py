from __future__ import annotations

import numpy as np
import pytest

from terrasynth.eval import Calibration, InputError, calibrate, load_encoder
from terrasynth.eval.models.calibration import LEVELS, OWN_TAIL, ClassScores, Quantiles
from tests.tiny import TEXTS, tiny_pictures


def uniform(n=1001, low=0.0, high=1.0):
    return Quantiles.of(np.linspace(low, high, n).astype(np.float32))


def calibration(pictures=1000, classes=None, overall=None):
    return Calibration({}, "val", pictures, classes or {}, overall or uniform())


def test_the_threshold_is_what_that_share_of_real_pairs_reaches():
    scores = np.random.default_rng(0).normal(0.3, 0.1, 4000).astype(np.float32)
    found = Calibration.of({}, "val", scores, np.arange(4000), ["beach"] * 4000)
    for share in (0.5, 0.9, 0.95, 0.99):
        assert found.source("beach", share) == "class"
        assert np.mean(scores >= found.threshold("beach", share)) == pytest.approx(share, abs=0.001)
    assert found.threshold("beach", 0.95) == pytest.approx(np.quantile(scores, 0.05), abs=1e-6)
    assert found.threshold("beach", 0) == pytest.approx(scores.max(), abs=1e-6)


def test_an_unknown_class_or_one_of_few_pictures_uses_all_pairs():
    enough = round(OWN_TAIL / 0.1)
    found = calibration(classes={
        "many": ClassScores(enough, uniform(5 * enough, 2, 3)), "few": ClassScores(enough - 1, uniform(9999, 5, 6)),
        "fewer": ClassScores(3),
    })
    assert [found.source(label, 0.9) for label in ("many", "few", "fewer", "nowhere")] == ["class"] + ["overall"] * 3
    assert found.threshold("many", 0.9) == pytest.approx(2.1)
    for label in ("few", "fewer", "nowhere"):
        assert found.threshold(label, 0.9) == pytest.approx(0.1)
    assert found.source("many", 0.95) == "overall"  # of the same pictures half as many lie below
    assert found.source("few", 0.8) == "class"


def test_many_captions_of_a_picture_do_not_make_a_class_known():
    scores = np.random.default_rng(0).normal(size=(30, 50))
    found = Calibration.of({}, "val", scores.ravel(), np.repeat(np.arange(30), 50), ["a"] * 30)
    assert (found.pictures, found.classes["a"].pictures, found.overall.n) == (30, 30, 1500)
    assert found.source("a", 0.95) == "overall"


def test_real_pictures_pass_at_the_rate_although_neighbours_are_alike():
    """Ten pictures a class whose neighbours share an offset, as tiles of one scene do; fifty scores of each class."""
    generator = np.random.default_rng(0)

    def split():
        scene = generator.normal(size=(40, 2, 1, 1)).repeat(5, axis=2) + generator.normal(size=(40, 10)).reshape(
            40, 2, 5, 1) / 3
        return (scene + generator.normal(size=(40, 2, 5, 5)) / 3).reshape(400, 5)

    labels = [f"class {number // 10}" for number in range(400)]
    picture = np.repeat(np.arange(400), 5)
    rates = []
    for _ in range(20):
        found, fresh = Calibration.of({}, "val", split().ravel(), picture, labels), split()
        limits = np.array([found.threshold(label, 0.95) for label in labels])
        rates.append(np.mean(fresh >= limits[:, None]))
    assert abs(np.mean(rates) - 0.95) < 3 * np.std(rates) / np.sqrt(len(rates)) + 0.001


def test_a_share_that_leaves_out_less_than_a_picture_is_refused():
    assert calibration(100).threshold("beach", 0.99) == pytest.approx(0.01)
    with pytest.raises(InputError, match=r"has 100 real images, of which that leaves out less .* give 0\.99 at"):
        calibration(100).threshold("beach", 0.995)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(InputError, match="not a share; give a number from 0 to 1"):
        calibration().threshold("beach", share)


def test_every_caption_of_every_picture_makes_a_pair(clip_folder):
    encoder, pictures = load_encoder(clip_folder), tiny_pictures(4)
    captions = [TEXTS[:2], TEXTS[2:3], TEXTS[:2], TEXTS[4:7]]
    found = calibrate(encoder, pictures, captions, ["a", "a", "b", "b"], "val")
    assert {label: entry.pictures for label, entry in found.classes.items()} == {"a": 2, "b": 2}
    by_hand = [encoder.score(pictures[[i] * len(own)], own) for i, own in enumerate(captions)]
    expected = np.quantile(np.concatenate(by_hand), np.linspace(0, 1, LEVELS))
    assert found.overall.n == 8
    np.testing.assert_allclose(found.overall.values, expected, atol=2e-6)
    assert found.encoder == encoder.identity()


def test_saving_is_lossless_and_repeatable(tmp_path):
    found = Calibration({"model": "x"}, "val", 33, {"b": ClassScores(30, uniform()), "a": ClassScores(3)}, uniform(77))
    for name in ("one.json", "two.json"):
        found.save(tmp_path / name)
    assert Calibration.load(tmp_path / "one.json") == found
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"encoder":{},"split":"v","pictures":1,"overall":{"n":1,"values":3},"classes":{}}'],
)
def test_another_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(InputError, match=r"c\.json: not a calibration"):
        Calibration.load(tmp_path / "c.json")


def test_a_file_that_counted_pairs_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "c.json").write_text('{"encoder":{},"split":"v","overall":{"n":1,"values":[1,2]},"classes":{}}')
    with pytest.raises(InputError, match=r"c\.json: a calibration of an earlier version.*`terrasynth eval calibrate`"):
        Calibration.load(tmp_path / "c.json")


def test_unequal_numbers_and_empty_captions_are_refused(clip_folder):
    encoder = load_encoder(clip_folder)
    with pytest.raises(InputError, match="2 images, 1 lists of captions, 2 labels"):
        calibrate(encoder, tiny_pictures(2), [["a"]], ["a", "b"], "val")
    with pytest.raises(InputError, match="at least one caption for each"):
        calibrate(encoder, tiny_pictures(2), [["a"], []], ["a", "b"], "val")
