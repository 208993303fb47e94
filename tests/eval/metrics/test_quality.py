"""Every measure sees the defect it is there for, on pictures whose defect is known, and not the others'."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from terrasynth.eval.errors import InputError
from terrasynth.eval.metrics.picture_quality import MEASURES, measure_quality
from terrasynth.eval.metrics.quality_calibration import QualityCalibration
from tests.tiny import tiny_pictures

PICTURES = tiny_pictures(60, size=96, seed=3)


def blurred(images, radius=2.0):
    return np.stack([np.asarray(Image.fromarray(each).filter(ImageFilter.GaussianBlur(radius))) for each in images])


def grid(images, period=8, step=24):
    raised = images.astype(int)
    raised[:, :, (np.arange(images.shape[2]) // period) % 2 == 0] += step
    return np.clip(raised, 0, 255).astype(np.uint8)


def even(images):
    return np.full_like(images, 120)


def overexposed(images):
    return np.clip(images.astype(int) * 3, 0, 255).astype(np.uint8)


def tinted(images):
    return np.clip(images.astype(int) // 4 + [190, 0, 0], 0, 255).astype(np.uint8)


def greys(images):
    return np.repeat(images.mean(3, keepdims=True).astype(np.uint8), 3, axis=3)


def column(images, measure):
    return measure_quality(images)[:, list(MEASURES).index(measure)]


@pytest.mark.parametrize(
    ("defect", "measure"),
    [(blurred, "sharpness"), (even, "flatness"), (overexposed, "clipping"), (tinted, "cast"), (greys, "colour"),
     (grid, "seams")],
)
def test_a_defect_moves_its_measure_to_the_bad_side_of_every_picture(defect, measure):
    before, after = column(PICTURES, measure), column(defect(PICTURES), measure)
    worse = after < before if MEASURES[measure].low_is_bad else after > before
    assert worse.mean() > 0.95


def test_values_that_are_known():
    flat = dict(zip(MEASURES, measure_quality(even(PICTURES[:1]))[0], strict=True))
    assert flat == pytest.approx(
        {"sharpness": 0, "flatness": 1, "clipping": 0, "cast": 0, "colour": 0, "seams": 1}, abs=1e-6
    )
    red = np.zeros((1, 64, 64, 3), np.uint8)
    red[..., 0] = 255
    assert column(red, "clipping") == [1]
    assert column(red, "cast") == column(red, "colour") == [255]


def test_seams_ignore_contrast_a_single_edge_and_other_periods():
    noise = np.random.default_rng(0).normal(128, 25, (8, 96, 96, 1)).clip(0, 255).astype(np.uint8).repeat(3, 3)
    house = noise.copy()
    house[:, :, 48:] = noise[:, :, 48:] // 2
    assert column(noise, "seams").max() < 1.1
    assert column(house, "seams").max() < 1.25
    assert column(grid(noise, period=8), "seams").min() > column(grid(noise, period=7), "seams").max()


def test_the_batch_decides_nothing():
    whole = measure_quality(PICTURES[:6])
    assert np.array_equal(whole, np.concatenate([measure_quality(each[None]) for each in PICTURES[:6]]))


def test_real_pictures_pass_at_the_calibrated_rate_and_planted_ones_do_not(tmp_path):
    calibration = QualityCalibration.of({96: tiny_pictures(200, size=96, seed=4)}, "tiny", "val")
    calibration.save(tmp_path / "quality.json")
    loaded = QualityCalibration.load(tmp_path / "quality.json")
    assert loaded == calibration
    fresh = tiny_pictures(200, size=96, seed=5)
    for (name, measure), values in zip(MEASURES.items(), measure_quality(fresh).T, strict=True):
        limit = loaded.threshold(name, 96, 0.9)
        passed = values >= limit if measure.low_is_bad else values <= limit
        # three standard errors of the difference of two samples
        assert passed.mean() > 0.9 - 3 * np.sqrt(0.09 / 200 + 0.09 / 200), name
    assert (column(blurred(fresh), "sharpness") < loaded.threshold("sharpness", 96, 0.9)).mean() > 0.9
    assert (column(grid(fresh), "seams") > loaded.threshold("seams", 96, 0.9)).mean() > 0.9
    assert (column(greys(fresh), "colour") < loaded.threshold("colour", 96, 0.9)).all()


def test_what_cannot_be_measured_is_said():
    with pytest.raises(InputError, match=r"images of 16 x 16 px are too small .* draw 32 px"):
        measure_quality(np.zeros((1, 16, 16, 3), np.uint8))
    shipped = QualityCalibration.load(QualityCalibration.shipped("ucm-val"))
    with pytest.raises(InputError, match=r"measured at 128, 256 px and these have 96"):
        shipped.threshold("seams", 96, 0.95)
    for name, measure in MEASURES.items():
        strict, lax = (shipped.threshold(name, 128, share) for share in (0.5, 0.99))
        assert strict > lax if measure.low_is_bad else strict < lax


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "quality.json"
    for content in ("{}", "[", '{"measures": {"kind": "quality", "version": 0}}'):
        path.write_text(content)
        with pytest.raises(InputError, match=r"not a calibration of quality .*make it again"):
            QualityCalibration.load(path)
