import json
import shutil

import numpy as np
import pytest

from terrasynth.eval.copies.measures import pixel_hash
from terrasynth.eval.errors import InputError
from terrasynth.eval.evaluation.reference import (
    REFERENCES,
    Reference,
    make_reference,
    reference_features,
    shipped_references,
)
from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance
from terrasynth.eval.models.loaders import load_picture_encoder
from tests.tiny import tiny_pictures

PICTURES = tiny_pictures(60, 32)
FILES = [(f"{n:02d}.png", pixel_hash(picture)) for n, picture in enumerate(PICTURES)]


@pytest.fixture(scope="module")
def encoders(scene_folder, clip_folder):
    return [load_picture_encoder(folder) for folder in (scene_folder, clip_folder)]


@pytest.fixture(scope="module")
def made(encoders):
    return make_reference("tiny", PICTURES, FILES, encoders, data="tiny", split="test", resampling="bicubic", seed=5)


def test_what_was_saved_gives_the_distances_of_the_pictures(made, encoders, tmp_path):
    made.save(tmp_path / "tiny")
    loaded = Reference.load(tmp_path / "tiny")
    others = tiny_pictures(50, 32, seed=1)
    for encoder in encoders:
        kept = loaded.of(encoder.identity(), (32, 32))
        ours = FeatureStatistics.of(reference_features(encoder, others))
        exact = FeatureStatistics.of(reference_features(encoder, PICTURES))
        assert frechet_distance(ours, kept.statistics) == pytest.approx(frechet_distance(ours, exact), rel=1e-4)
        assert (kept.statistics.n, kept.floor.n, kept.floor.seed) == (60, 30, 5)
        assert kept.floor.low > 0
    assert loaded.files == tuple(FILES)
    assert (loaded.data, loaded.split, loaded.resampling, loaded.size) == ("tiny", "test", "bicubic", (32, 32))


def test_features_of_a_dual_encoder_have_unit_length(encoders):
    scene, clip = (np.linalg.norm(reference_features(one, PICTURES), axis=1) for one in encoders)
    assert np.allclose(clip, 1)
    assert scene.std() > 0


def test_the_same_pictures_give_the_same_bytes(made, encoders, tmp_path):
    again = make_reference("tiny", PICTURES, FILES, encoders, data="tiny", split="test", resampling="bicubic", seed=5)
    files = [one.save(tmp_path / name) for one, name in ((made, "one"), (again, "two"))]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_another_size_or_network_is_refused(made, dual_folder):
    other = load_picture_encoder(dual_folder).identity()
    with pytest.raises(InputError, match="is of images of 32 x 32 px and the images are 64 x 48 px"):
        made.of(made.networks[0].network, (64, 48))
    with pytest.raises(InputError, match=r"has no statistics of local vision-text-dual-encoder \w{16}; it has local"):
        made.of(other, (32, 32))


def test_files_that_do_not_belong_together_are_refused(made, encoders, tmp_path):
    made.save(tmp_path / "tiny")
    names = [(f"other-{name}", pixels) for name, pixels in FILES]
    other = make_reference("o", PICTURES, names, encoders, data="tiny", split="test", resampling="bicubic")
    other.save(tmp_path / "other")
    file = next((tmp_path / "tiny").glob("*.safetensors"))
    shutil.copy(tmp_path / "other" / file.name, file)
    with pytest.raises(InputError, match="statistics of other images or another network"):
        Reference.load(tmp_path / "tiny")
    content = json.loads((tmp_path / "other" / "reference.json").read_text())
    content["files"] = content["files"][:-1]
    (tmp_path / "other" / "reference.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="do not belong together"):
        Reference.load(tmp_path / "other")
    (tmp_path / "other" / "reference.json").write_text("{}")
    with pytest.raises(InputError, match=r"reference.json cannot be read \('kind'\)"):
        Reference.load(tmp_path / "other")


def test_an_unknown_reference_lists_the_shipped_ones(tmp_path):
    with pytest.raises(InputError, match=r"did you mean 'ucm-test-128'\?\); shipped: ucm-test-128, ucm-test-256"):
        Reference.load("ucm-test-12")
    with pytest.raises(InputError, match=r"no folder with reference\.json"):
        Reference.load(tmp_path)


def test_too_few_pictures_make_no_reference(encoders):
    with pytest.raises(InputError, match="3 images and 3 names: a reference needs 4"):
        make_reference("x", PICTURES[:3], FILES[:3], encoders, data="x", split="test", resampling="bicubic")
    with pytest.raises(InputError, match="60 images and 59 names"):
        make_reference("x", PICTURES, FILES[1:], encoders, data="x", split="test", resampling="bicubic")


@pytest.mark.parametrize("side", [128, 256])
def test_the_shipped_references_are_of_the_embedded_networks(side):
    reference = Reference.load(f"ucm-test-{side}")
    assert len({name for name, _ in reference.files}) == 210
    for model in ("scene-ucm", "clip-ucm-b"):
        encoder = load_picture_encoder(model)
        found = reference.of(encoder.identity(), (side, side))
        assert found.statistics.n == 210
        assert found.statistics.mean.shape == (encoder.dim,)
        assert frechet_distance(found.statistics, found.statistics) == pytest.approx(0, abs=1e-3)
        assert np.linalg.eigvalsh(found.statistics.covariance).min() > -1e-4


def test_what_is_shipped_is_small_and_has_no_pictures():
    files = [path for path in REFERENCES.rglob("*") if path.is_file()]
    assert shipped_references() == ["ucm-test-128", "ucm-test-256"]
    assert sum(path.stat().st_size for path in files) < 600_000
    assert {path.suffix for path in files} == {".json", ".safetensors", ".md"}
