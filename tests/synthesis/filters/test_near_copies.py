"""The filter of near copies: what is planted is found, what is new passes, and what it cannot use is refused."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from safetensors import safe_open
from safetensors.numpy import save_file

from terrasynth.eval import ThumbnailEncoder, load_encoder
from terrasynth.eval.copies.memorisation import LEVEL, memorisation
from terrasynth.eval.copies.registration import Registration
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters import Measurements, NearCopyFilter
from terrasynth.synthesis.filters.base import Source
from terrasynth.synthesis.filters.measurers import load_measurer
from terrasynth.synthesis.filters.training_features import EARLIER, UNREGISTERED, TrainingFeatures, orientations
from terrasynth.synthesis.filters.training_pictures import TrainingPictures, on_one_scale
from terrasynth.synthesis.studies.copies import load_measures
from tests.eval.copies.test_registration import CHANGES, scenes, seen
from tests.tiny import tiny_pictures

SIZE = 128
ENCODER = ThumbnailEncoder()


def fields(n, seed):
    """Furrowed fields: what their thumbnails hold beside a colour is less than what JPEG changes."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    found = []
    for _ in range(n):
        angle, period, phase = generator.uniform([0, 6, 0], [np.pi, 12, 2 * np.pi])
        bent = phase + generator.uniform(0, 3) * np.sin(2 * np.pi * (x - y) / SIZE)
        furrows = 8 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + bent)
        grain = generator.normal(0, 3, (SIZE, SIZE))
        found.append(generator.uniform(60, 190, 3) + (furrows + grain)[..., None])
    return np.stack(found).clip(0, 255).astype(np.uint8)


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


def test_fields_are_found_compressed_and_others_of_their_colour_pass(settings, known, train):
    copies = each(train[-20:], compressed)
    assert not passed(settings, train[-20:]).any()
    assert not passed(settings, copies).any()
    layout = known.pictures.closeness(ENCODER.with_detail(copies))[0]
    assert (layout <= np.quantile(np.array(known.held_out["levels"][0]), 0.9)).any()
    others = fields(20, 4).astype(float)
    recoloured = others - others.mean((1, 2), keepdims=True) + train[-20:].mean((1, 2), keepdims=True)
    assert passed(settings, recoloured.clip(0, 255).astype(np.uint8)).mean() > 0.5


def test_memorisation_by_detail_finds_the_fields_that_its_layout_misses(train, held_out):
    by_layout, by_detail = memorisation(
        each(train[-20:], compressed), train, held_out, load_measures(["thumbnail", "detail"])).measures
    assert (by_detail.measure, by_detail.network) == ("detail", {"kind": "detail", "side": 32, "around": 2})
    assert by_detail.share.value == 1
    assert by_layout.share.value < 1
    assert max(by_detail.null, by_layout.null) <= LEVEL


def test_others_pass_at_the_calibrated_rate_by_both_measures_together(settings, known, held_out):
    fresh = pictures_of(50, 3)
    assert passed(settings, held_out).mean() == pytest.approx(0.9, abs=1 / len(held_out))
    assert passed(settings, fresh).mean() > 0.9 - 3 * np.sqrt(0.09 / 100 + 0.09 / 100)
    # a threshold is the same quantile of each measure, and it is the joint share that it lets pass
    threshold, closeness = known.threshold(0.9), known.pictures.closeness(ENCODER.with_detail(held_out))
    by_layout = closeness[0] <= threshold
    both = known.similarity(ENCODER.with_detail(held_out)) <= threshold
    assert not (both & ~by_layout).any()
    assert both.sum() < by_layout.sum()


def test_the_detail_is_the_cosine_that_is_as_rare():
    levels = np.array([[0.0, 0.6, 0.8], [0.2, 0.4, 0.5]])
    closeness = np.array([[0.7, 0.1, 0.1, 0.1, -0.2], [0.4, 0.4, 0.75, 1.0, 0.0]])
    assert np.allclose(on_one_scale(closeness, levels), [0.7, 0.6, 0.9, 1.0, 0.0])
    assert np.array_equal(on_one_scale(closeness[:1], levels[:1]), closeness[0])


def test_measures_are_cosines_to_the_nearest_picture_and_the_correlation_with_it(train, held_out):
    known = TrainingFeatures.of(ENCODER, train, False, {}).pictures
    layout, detail, registered = known.closeness(ENCODER.with_detail(held_out))
    rows, others = ENCODER.with_detail(held_out), ENCODER.with_detail(train)
    assert np.allclose(layout, (rows[:, :768] @ others[:, :768].T).max(1), atol=1e-3)  # kept in half precision
    assert np.allclose(detail, (rows[:, 768:] @ others[:, 768:].T).max(1), atol=1e-3)
    laid = Registration(others[:, :768], others[:, 768:]).nearest(rows[None, :, :768], rows[None, :, 768:])
    same = np.isclose(registered, laid.correlation[:, 0], atol=0.02)  # half precision may choose other candidates
    assert same.mean() > 0.9


def test_the_file_gives_the_same_answers_and_the_number_of_queries_does_not_matter(known, settings, held_out):
    read = TrainingFeatures.load(Path(settings.reference))
    rows = ENCODER.with_detail(held_out)
    assert np.array_equal(read.similarity(rows), known.similarity(rows))
    apart = np.concatenate([read.similarity(rows[row : row + 1]) for row in range(len(rows))])
    assert np.allclose(apart, read.similarity(rows), atol=1e-5)
    assert read.threshold(0.9) == known.threshold(0.9)
    assert settings.describe() == "pass_real 0.9, reference train.safetensors, encoder thumbnail"


def test_without_held_out_pictures_the_layout_decides(train, tmp_path):
    path = tmp_path / "train.safetensors"
    TrainingFeatures.of(ENCODER, train[:30], False, {}).save(path)
    settings = NearCopyFilter(reference=str(path), max_similarity=0.97)
    assert not passed(settings, train[:5]).any()
    assert passed(settings, tiny_pictures(20, SIZE, seed=9)).mean() > 0.5
    with pytest.raises(InputError, match="hold no held-out images"):
        NearCopyFilter(reference=str(path), pass_real=0.9).check([], ENCODER)


def test_what_it_measures_is_kept_apart_from_what_duplicates_are_found_by(settings):
    duplicates = Source("embeddings", "thumbnail")
    assert settings.source != duplicates
    mine, theirs = (load_measurer(source, "cpu") for source in (settings.source, duplicates))
    assert mine.identity() != theirs.identity()
    pictures = tiny_pictures(2)
    width = theirs.measure(pictures, ["", ""]).numbers.shape[1]
    assert np.array_equal(mine.measure(pictures, []).of("detail")[:, :width], theirs.model.encode_images(pictures))


def test_another_encoder_compares_by_layout_alone(models, tmp_path):
    encoder, pictures = load_encoder(models.encoder), tiny_pictures(40)
    path = tmp_path / "train.safetensors"
    TrainingFeatures.of(encoder, pictures[:20], False, {}, pictures[20:], "val").save(path)
    settings = NearCopyFilter(reference=str(path), encoder=str(models.encoder), pass_real=0.9)
    assert settings.source == Source("embeddings", str(models.encoder))
    judge = settings.judge("beach", encoder, Path())
    rows = encoder.encode_images(pictures)
    judge.begin(Measurements("embeddings", rows))
    expected = (rows @ rows[:20].T).max(1)
    assert [judge.score(row) for row in range(40)] == pytest.approx(list(expected), abs=2e-3)
    assert TrainingFeatures.load(path).pictures.measures == ("embeddings",)
    with pytest.raises(InputError, match=r"was made by encoder .*'model'.*and 'thumbnail' is"):
        NearCopyFilter(reference=str(path), max_similarity=0.9).check([], ENCODER)


def test_a_file_without_registration_is_read_and_finds_what_it_found(known, held_out, tmp_path):
    """As files were before pictures were laid over each other: two measures, and levels of two."""
    rows = ENCODER.with_detail(held_out)
    both, levels = known.pictures.closeness(rows)[:2], known.held_out["levels"][:2]
    path = tmp_path / "train.safetensors"
    pictures = TrainingPictures(known.pictures.tensors())
    TrainingFeatures(pictures, known.encoder, known.about, {**known.held_out, "levels": levels}).save(path)
    with safe_open(path, "numpy") as file:
        assert file.metadata()["format"] == UNREGISTERED
    read = TrainingFeatures.load(path)
    assert read.pictures.measures == ("layout", "detail")
    assert np.array_equal(read.similarity(rows), on_one_scale(both, np.array(levels)))


@pytest.fixture(scope="module")
def of_scenes():
    """Training scenes, larger than they are seen, and others: held out, and fresh."""
    return scenes(12, 1), seen(scenes(100, 2)), seen(scenes(100, 3))


@pytest.fixture(scope="module", params=[False, True], ids=["as they are", "turned"])
def features_of_scenes(request, of_scenes, tmp_path_factory):
    own, others, _ = of_scenes
    path = tmp_path_factory.mktemp("features") / "train.safetensors"
    TrainingFeatures.of(ENCODER, seen(own), request.param, {}, others, "val").save(path)
    return path


def test_others_than_what_was_moved_pass(of_scenes, features_of_scenes):
    assert passed(NearCopyFilter(reference=str(features_of_scenes), pass_real=0.99), of_scenes[2]).mean() > 0.9


@pytest.mark.parametrize("change", ["2 px along both axes", "a corner cut off", "3 degrees"])
def test_what_was_moved_is_found(change, of_scenes, features_of_scenes):
    own, path = of_scenes[0], features_of_scenes
    settings = NearCopyFilter(reference=str(path), pass_real=0.99)
    assert passed(settings, CHANGES[change](own)).mean() < 0.1
    unregistered = TrainingFeatures.load(path).pictures.closeness(ENCODER.with_detail(CHANGES[change](own)))[:2]
    levels = np.array(TrainingFeatures.load(path).held_out["levels"][:2])
    assert (unregistered <= levels[:, -1:]).all(0).mean() > 0.5  # most of them pass by layout and detail


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
