"""The filter of near copies: what is planted is found, what is new passes, and what it cannot use is refused."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from safetensors.numpy import save_file

from eval import ThumbnailEncoder, load_encoder
from synthesis.errors import InputError
from synthesis.filter_base import Source
from synthesis.filters import Measurements, NearCopyFilter
from synthesis.measurers import load_measurer
from synthesis.training_features import EARLIER, TrainingFeatures, orientations
from synthesis.training_pictures import EmbeddedPictures, ThumbnailPictures, on_one_scale
from tests.tiny import tiny_pictures

SIZE = 128
ENCODER = ThumbnailEncoder()


def fields(n, seed):
    """Even fields: what their thumbnails hold beside a colour is less than what JPEG changes."""
    generator = np.random.default_rng(seed)
    colours = generator.uniform(30, 220, (n, 1, 1, 3))
    return (colours + generator.normal(0, 3, (n, SIZE, SIZE, 1))).clip(0, 255).astype(np.uint8)


def pictures_of(n, seed):
    return np.concatenate([tiny_pictures(n, SIZE, seed), fields(n, seed)])


def each(images, change):
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def compressed(picture):
    file = BytesIO()
    picture.save(file, "JPEG", quality=50)
    return Image.open(file).convert("RGB")


@pytest.fixture(scope="module")
def train():
    return pictures_of(30, 1)


@pytest.fixture(scope="module")
def held_out():
    return pictures_of(50, 2)


@pytest.fixture(scope="module")
def known(train, held_out):
    return TrainingFeatures.of(ENCODER, train, True, {"data": "tiny", "split": "train"}, held_out, "val")


@pytest.fixture(scope="module")
def settings(known, tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "train.safetensors"
    known.save(path)
    return NearCopyFilter(reference=str(path), pass_real=0.9)


def passed(settings, images, encoder=ENCODER):
    settings.check(["beach"], encoder)
    judge = settings.judge("beach", encoder, Path())
    rows = load_measurer(settings.source, "cpu").measure(images, [])
    judge.begin(rows)
    return np.array([judge.passes(judge.score(row)) for row in range(len(images))])


@pytest.mark.parametrize(
    "copied",
    [
        lambda images: images,
        lambda images: np.concatenate(orientations(images)),
        lambda images: (images * 0.8 + 40).astype(np.uint8),
        lambda images: (images * 1.1).clip(0, 255).astype(np.uint8),
        lambda images: each(images, lambda picture: picture.filter(ImageFilter.GaussianBlur(1))),
        lambda images: each(images, compressed),
    ],
    ids=["exact", "turned", "flatter", "brighter", "blurred", "compressed"],
)
def test_copies_are_found(settings, train, copied):
    assert not passed(settings, copied(train[:20])).any()


def test_even_fields_are_found_compressed_where_the_cosine_alone_misses_them(settings, known, train):
    copies = each(train[-20:], compressed)
    assert not passed(settings, train[-20:]).any()
    assert not passed(settings, copies).any()
    cosine = known.pictures.closeness(ENCODER.cells(copies))[0]
    assert (cosine <= np.quantile(np.array(known.held_out["levels"][0]), 0.9)).any()


def test_others_pass_at_the_calibrated_rate_by_both_measures_together(settings, known, held_out):
    fresh = pictures_of(50, 3)
    assert passed(settings, held_out).mean() == pytest.approx(0.9, abs=1 / len(held_out))
    assert passed(settings, fresh).mean() > 0.9 - 3 * np.sqrt(0.09 / 100 + 0.09 / 100)
    # a threshold is the same quantile of each measure, and it is the joint share that it lets pass
    threshold, closeness = known.threshold(0.9), known.pictures.closeness(ENCODER.cells(held_out))
    by_cosine = closeness[0] <= threshold
    both = known.similarity(ENCODER.cells(held_out)) <= threshold
    assert not (both & ~by_cosine).any()
    assert both.sum() < by_cosine.sum()


def test_both_measures_are_those_of_the_thumbnails(train, held_out):
    cells, others = ENCODER.cells(train), ENCODER.cells(held_out)
    cosine, closeness = ThumbnailPictures.of(cells).closeness(others)
    by_embedding = (ENCODER.encode_images(held_out) @ ENCODER.encode_images(train).T).max(1)
    distance = np.sqrt(((others[:, None].astype(np.float64) - cells[None]) ** 2).mean(2)).min(1)
    assert np.allclose(cosine, by_embedding, atol=1e-3)  # contrasts are kept in half precision
    assert np.allclose(-closeness, distance, atol=0.01)


def test_the_distance_is_the_cosine_that_is_as_rare():
    levels = np.array([[0.0, 0.5, 0.8], [-40.0, -20.0, -10.0]])
    closeness = np.array([[0.6, 0.1, 0.1, 0.1, -0.2], [-20.0, -20.0, -5.0, 0.0, -90.0]])
    assert np.allclose(on_one_scale(closeness, levels), [0.6, 0.5, 0.9, 1.0, 0.0])
    assert np.array_equal(on_one_scale(closeness[:1], levels[:1]), closeness[0])


def test_the_file_gives_the_same_answers_and_the_number_of_queries_does_not_matter(known, settings, held_out):
    read = TrainingFeatures.load(Path(settings.reference))
    cells = ENCODER.cells(held_out)
    assert np.array_equal(read.similarity(cells), known.similarity(cells))
    apart = np.concatenate([read.similarity(cells[row : row + 1]) for row in range(len(cells))])
    assert np.allclose(apart, read.similarity(cells), atol=1e-9)
    assert read.threshold(0.9) == known.threshold(0.9)
    assert settings.describe() == "pass_real 0.9, reference train.safetensors, encoder thumbnail"


def test_an_even_picture_is_like_its_equal_alone():
    grey, black = (np.full((1, 32, 32, 3), value, np.uint8) for value in (90, 0))
    known = TrainingFeatures.of(ENCODER, grey, False, {}, tiny_pictures(20), "val")
    assert known.similarity(ENCODER.cells(grey))[0] == 1
    assert known.similarity(ENCODER.cells(black))[0] < 1


def test_without_held_out_pictures_the_cosine_decides(train, tmp_path):
    path = tmp_path / "train.safetensors"
    TrainingFeatures.of(ENCODER, train[:30], False, {}).save(path)
    settings = NearCopyFilter(reference=str(path), max_similarity=0.97)
    assert not passed(settings, train[:5]).any()
    assert passed(settings, tiny_pictures(20, SIZE, seed=9)).mean() > 0.5
    with pytest.raises(InputError, match="hold no held-out pictures"):
        NearCopyFilter(reference=str(path), pass_real=0.9).check([], ENCODER)


def test_another_encoder_compares_by_cosine_alone(models, tmp_path):
    encoder, pictures = load_encoder(models.encoder), tiny_pictures(40)
    path = tmp_path / "train.safetensors"
    TrainingFeatures.of(encoder, pictures[:20], False, {}, pictures[20:], "val").save(path)
    settings = NearCopyFilter(reference=str(path), encoder=str(models.encoder), pass_real=0.9)
    assert settings.source == Source("embeddings", str(models.encoder))
    judge = settings.judge("beach", encoder, Path())
    rows = encoder.encode_images(pictures)
    judge.begin(Measurements(np.full(40, np.nan, np.float32), rows))
    expected = (rows @ rows[:20].T).max(1)
    assert [judge.score(row) for row in range(40)] == pytest.approx(list(expected), abs=2e-3)
    assert isinstance(TrainingFeatures.load(path).pictures, EmbeddedPictures)
    with pytest.raises(InputError, match=r"was made by encoder .*'model'.*and 'thumbnail' is"):
        NearCopyFilter(reference=str(path), max_similarity=0.9).check([], ENCODER)


def test_files_of_an_earlier_version_and_others_are_refused(tmp_path):
    bad = tmp_path / "bad.safetensors"
    content = json.dumps({"encoder": ENCODER.identity(), "about": {}, "held_out": None})
    save_file({"embeddings": np.zeros((2, 768), np.float16)}, bad, {"format": EARLIER[0], "content": content})
    with pytest.raises(InputError, match=r"bad\.safetensors' are of an earlier version.*make them again with `terra"):
        NearCopyFilter(reference=str(bad), max_similarity=0.9).check([], ENCODER)
    for written in (None, b"nothing", b""):
        bad.unlink(missing_ok=True)
        if written is not None:
            bad.write_bytes(written)
        with pytest.raises(InputError, match=r"bad\.safetensors' cannot be read"):
            NearCopyFilter(reference=str(bad), max_similarity=0.9).check([], ENCODER)
