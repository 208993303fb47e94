from __future__ import annotations

import numpy as np
import pytest

from eval import Calibration, InputError, calibrate, load_encoder
from eval.calibration import LEVELS, MIN_CLASS_PAIRS, Quantiles
from tests.tiny import TEXTS, tiny_pictures


def uniform(n=1001, low=0.0, high=1.0):
    return Quantiles.of(np.linspace(low, high, n).astype(np.float32))


def test_the_threshold_is_what_that_share_of_real_pairs_reaches():
    scores = np.random.default_rng(0).normal(0.3, 0.1, 4000).astype(np.float32)
    calibration = Calibration({}, "val", {"beach": Quantiles.of(scores)}, uniform())
    for share in (0.5, 0.9, 0.95, 0.99):
        assert np.mean(scores >= calibration.threshold("beach", share)) == pytest.approx(share, abs=0.001)
    assert calibration.threshold("beach", 0.95) == pytest.approx(np.quantile(scores, 0.05), abs=1e-6)
    assert calibration.threshold("beach", 1) == pytest.approx(scores.min(), abs=1e-6)
    assert calibration.threshold("beach", 0) == pytest.approx(scores.max(), abs=1e-6)


def test_an_unknown_or_small_class_uses_all_pairs_and_says_so():
    small = uniform(MIN_CLASS_PAIRS - 1, 5, 6)
    calibration = Calibration({}, "val", {"big": uniform(MIN_CLASS_PAIRS, 2, 3), "small": small}, uniform())
    assert [calibration.source(label) for label in ("big", "small", "nowhere")] == ["class", "overall", "overall"]
    assert calibration.threshold("big", 0.9) == pytest.approx(2.1)
    assert calibration.threshold("small", 0.9) == calibration.threshold("nowhere", 0.9) == pytest.approx(0.1)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(InputError, match="not a share; give a number from 0 to 1"):
        Calibration({}, "val", {}, uniform()).threshold("beach", share)


def test_every_caption_of_every_picture_makes_a_pair(clip_folder):
    encoder, pictures = load_encoder(clip_folder), tiny_pictures(4)
    captions = [TEXTS[:2], TEXTS[2:3], TEXTS[:2], TEXTS[4:7]]
    calibration = calibrate(encoder, pictures, captions, ["a", "a", "b", "b"], "val")
    assert {label: entry.n for label, entry in calibration.classes.items()} == {"a": 3, "b": 5}
    by_hand = [encoder.score(pictures[[i] * len(own)], own) for i, own in enumerate(captions)]
    expected = np.quantile(np.concatenate(by_hand), np.linspace(0, 1, LEVELS))
    assert calibration.overall.n == 8
    np.testing.assert_allclose(calibration.overall.values, expected, atol=2e-6)
    assert calibration.encoder == encoder.identity()


def test_saving_is_lossless_and_repeatable(tmp_path):
    calibration = Calibration({"model": "x"}, "val", {"b": uniform(), "a": uniform(30)}, uniform(77))
    for name in ("one.json", "two.json"):
        calibration.save(tmp_path / name)
    assert Calibration.load(tmp_path / "one.json") == calibration
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"encoder":{},"split":"v","overall":{"n":1,"values":3},"classes":{}}']
)
def test_another_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(InputError, match=r"c\.json: not a calibration"):
        Calibration.load(tmp_path / "c.json")


def test_unequal_numbers_and_empty_captions_are_refused(clip_folder):
    encoder = load_encoder(clip_folder)
    with pytest.raises(InputError, match="2 pictures, 1 lists of captions, 2 labels"):
        calibrate(encoder, tiny_pictures(2), [["a"]], ["a", "b"], "val")
    with pytest.raises(InputError, match="at least one caption for each"):
        calibrate(encoder, tiny_pictures(2), [["a"], []], ["a", "b"], "val")
