"""Filters on real UC Merced pictures, with the embedded models: what is planted is caught, what is real passes.

Runs where TERRASYNTH_UCM names the data. Thresholds come from `val`; the pictures judged here are those of `test`.
"""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from terrasynth.eval import ThumbnailEncoder, load_classifier, load_encoder
from terrasynth.eval.metrics.figure import bootstrap_mean, derangement
from terrasynth.eval.models.calibration import Calibration
from terrasynth.eval.models.dual_encoders import CALIBRATION_FILE
from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve
from terrasynth.synthesis.core.real_pictures import stack
from terrasynth.synthesis.filters import AlignmentFilter, NearCopyFilter, QualityFilter, SceneFilter
from terrasynth.synthesis.filters.measurers import DetailMeasurer, EncoderMeasurer, QualityMeasurer, SceneMeasurer
from terrasynth.synthesis.filters.training_features import TrainingFeatures, orientations

UCM = os.environ.get("TERRASYNTH_UCM", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path(UCM, "pairs.jsonl").is_file(), reason="no TERRASYNTH_UCM")]


@pytest.fixture(scope="module")
def data():
    from terrasynth.training.data import read_pairs

    return read_pairs(UCM)


@pytest.fixture(scope="module")
def pairs(data):
    return data.split("test")


@pytest.fixture(scope="module")
def pictures(pairs):
    return stack([pair.open() for pair in pairs], (128, 128))


def passed(settings, measured, labels, model=None):
    """Which rows a filter passes."""
    found = np.zeros(len(labels), bool)
    for label in set(labels):
        rows = np.flatnonzero(np.array(labels) == label)
        judge = settings.judge(label, model, Path())
        judge.begin(measured.where(np.array(labels) == label))
        found[rows] = [judge.passes(judge.score(place)) for place in range(len(rows))]
    return found


def at_least(share, n):
    """What a share of n reaches but for chance, when its threshold comes from 210 pictures: three standard errors."""
    return share - 3 * np.sqrt(share * (1 - share) * (1 / n + 1 / 210))


def test_real_pairs_pass_at_the_calibrated_rate_and_shuffled_captions_fail(pairs, pictures):
    encoder = load_encoder("clip-ucm")
    settings, measurer = AlignmentFilter(pass_real=0.95), EncoderMeasurer(encoder)
    labels = [pair.label for pair in pairs]

    def passes(captions):
        return passed(settings, measurer.measure(pictures, captions), labels, encoder)

    each = np.stack([passes([pair.captions[place] for pair in pairs]) for place in range(5)], axis=1)
    rate = bootstrap_mean(each.mean(1), 0)  # captions of one picture pass together: pictures are resampled
    assert rate.low <= 0.95 <= rate.high
    partner, _ = derangement(labels, 0)
    assert passes([pairs[other].captions[0] for other in partner]).mean() < rate.value / 3


def test_another_class_fails_the_scene_filter(pairs, pictures):
    classifier = load_classifier("scene-ucm")
    labels = [pair.label for pair in pairs]
    measured = SceneMeasurer(classifier).measure(pictures, [])
    assert passed(SceneFilter(pass_real=0.95), measured, labels, classifier).mean() > at_least(0.95, len(pairs))
    real = Calibration.load(resolve("scene-ucm", (EMBEDDED_ROOT,)).folder / CALIBRATION_FILE).overall
    usual = float(np.mean(np.array(real.values) >= 0.5))
    half = SceneFilter(min_probability=0.5)
    assert passed(half, measured, labels, classifier).mean() > at_least(usual, len(pairs))
    others = [labels[other] for other in derangement(labels, 0)[0]]
    # at most one class of a picture has more than a half, so of its 20 others a random one has so at most 1 time in 20
    assert passed(half, measured, others, classifier).mean() < 0.05


def blurred(images, sigma=2):
    return np.stack([np.asarray(Image.fromarray(each).filter(ImageFilter.GaussianBlur(sigma))) for each in images])


def compressed(images):
    def again(picture):
        file = BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=50)
        return np.asarray(Image.open(file))

    return np.stack([again(each) for each in images])


def seamed(images):
    raised = images.astype(int)
    raised[:, :, (np.arange(images.shape[2]) // 8) % 2 == 0] += 16
    return raised.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("measure", "defect", "caught"),
    [("sharpness", blurred, 0.9), ("flatness", lambda images: np.full_like(images, 127), 1),
     ("colour", lambda images: images[..., 1:2].repeat(3, axis=3), 1), ("seams", seamed, 0.9)],
)
def test_planted_defects_fail_and_real_pictures_pass_at_the_calibrated_rate(pairs, pictures, measure, defect, caught):
    settings = QualityFilter(measure=measure, pass_real=0.95)
    labels = [pair.label for pair in pairs]
    assert passed(settings, QualityMeasurer().measure(pictures, []), labels).mean() > at_least(0.95, len(pairs))
    assert 1 - passed(settings, QualityMeasurer().measure(defect(pictures), []), labels).mean() >= caught


@pytest.fixture(scope="module")
def copies(data, tmp_path_factory):
    """The training pictures, and the filter that knows them."""
    train, held_out = (stack([pair.open() for pair in data.split(name)], (128, 128)) for name in ("train", "val"))
    path = tmp_path_factory.mktemp("features") / "train.safetensors"
    TrainingFeatures.of(ThumbnailEncoder(), train, True, {"data": "ucm"}, held_out, "val").save(path)
    return train, NearCopyFilter(reference=str(path), pass_real=0.99)


def test_training_pictures_fail_however_turned_and_others_pass_at_the_calibrated_rate(copies, pairs, pictures):
    train, settings = copies
    measurer = DetailMeasurer()
    labels = [pair.label for pair in pairs]
    assert passed(settings, measurer.measure(pictures, []), labels, measurer.model).mean() > at_least(0.99, len(pairs))
    turned = np.concatenate(orientations(train[:: len(train) // 50]))
    assert not passed(settings, measurer.measure(turned, []), ["any"] * len(turned), measurer.model).any()


def brighter(images):
    return (images * 1.1).clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    "changed", [lambda images: blurred(images, 1), compressed, brighter], ids=["blurred", "compressed", "brighter"]
)
def test_training_pictures_fail_changed(copies, data, changed):
    train, settings = copies
    labels = np.array([pair.label for pair in data.split("train")])
    some = np.concatenate([np.flatnonzero(labels == label)[::16][:5] for label in np.unique(labels)])
    measurer = DetailMeasurer()
    found = passed(settings, measurer.measure(changed(train[some]), []), list(labels[some]), measurer.model)
    assert not found.any()
