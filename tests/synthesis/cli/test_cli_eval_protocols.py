import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from terrasynth.synthesis import run
from terrasynth.synthesis.cli import cli
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.ledger.pictures import RunPictures
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.studies.reference import against_reference
from tests.synthesis.conftest import CLASSES
from tests.tiny import tiny_pictures

SIDE = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Real data of three classes, 8 train and 6 test pictures of each, larger than what the tiny generator draws."""
    folder = tmp_path_factory.mktemp("data")
    rows = [(label, split) for label in CLASSES for split, count in (("train", 8), ("test", 6)) for _ in range(count)]
    with (folder / "pairs.jsonl").open("w") as stream:
        for number, ((label, split), picture) in enumerate(zip(rows, tiny_pictures(len(rows), SIDE), strict=True)):
            Image.fromarray(picture).save(folder / f"{number:02d}.png")
            row = {"file": f"{number:02d}.png", "class": label, "split": split, "captions": [f"{label} {number}"]}
            stream.write(json.dumps(row) + "\n")
    return folder


@pytest.fixture
def made(tree, tmp_path):
    tree["filters"] = []
    run(Recipe.parse(tree), tmp_path / "run")
    return tmp_path / "run"


def _invoke(*arguments):
    return CliRunner().invoke(cli, ["eval", *map(str, arguments)], catch_exceptions=False)


def _plant(made, picture):
    """Put a picture in the place of the first of the run."""
    path = made / "data" / "train-00000.parquet"
    table = pq.read_table(path)
    images = table.column("image").to_pylist()
    images[0]["bytes"] = encode(picture, "png")
    column = table.schema.get_field_index("image")
    field = table.schema.field(column)
    pq.write_table(table.set_column(column, field, pa.array(images, field.type)), path)


def test_memorisation_finds_a_planted_copy_and_shows_it(made, data, tmp_path):
    size = RunPictures.read(made, 1).size
    original = Image.open(data / "09.png").convert("RGB")  # a test picture of the first class
    trained = Image.open(data / "03.png").convert("RGB")
    for picture, expected in ((original, 0), (trained, 1)):
        _plant(made, np.asarray(picture.resize(size, Image.Resampling.BICUBIC)))
        done = _invoke("memorisation", made, "--train", data, "--held-out", data, "--by", "hash", "--by", "thumbnail",
                       "--out", tmp_path / "out")
        assert done.exit_code == 0
        assert done.stdout.splitlines()[0] == (
            "15 images against 24 training images in 8 views; null: 18 held-out real images, as many of each "
            "class, by weight; seed 0")
        found = json.loads((tmp_path / "out" / "memorisation.json").read_text())
        assert found["exact_copies"] == expected
    copy = next(pair for pair in found["pairs"] if pair["measure"] == "thumbnail")
    assert (copy["row"], copy["train_row"], copy["near"]) == (0, 3, True)
    assert found["ids"]["0"] == RunPictures.read(made, 1).ids[0]
    assert Image.open(tmp_path / "out" / "nearest_train.png").width > 6 * 128


def test_duplicates_are_found_beside_real_pictures(made, data, tmp_path):
    _plant(made, RunPictures.read(made).images[1])
    arguments = ("duplicates", made, "--by", "thumbnail", "--real", data, "--out", tmp_path / "out")
    done = _invoke(*arguments)
    assert done.stdout.splitlines()[0] == "identical images 2 of 15; real 0 of 15"
    pair = json.loads((tmp_path / "out" / "duplicates.json").read_text())["pairs"][0]
    assert {pair["row"], pair["other"]} == {0, 1}
    before = (tmp_path / "out" / "duplicates.json").read_bytes()
    assert _invoke(*arguments).stdout == done.stdout
    assert (tmp_path / "out" / "duplicates.json").read_bytes() == before
    alone = _invoke("duplicates", made, "--by", "hash")
    assert alone.stdout.splitlines()[1].endswith("no real images to compare with")


def test_pictures_are_embedded_once(models, made, data, tmp_path, monkeypatch):
    from terrasynth.eval import ClipEncoder

    by = ("--by", models.encoder, "--cache", tmp_path / "cache")
    commands = [("memorisation", made, "--train", data, "--held-out", data, *by, "--out", tmp_path / "out"),
                ("duplicates", made, "--real", data, *by)]
    first = [_invoke(*command).stdout for command in commands]
    monkeypatch.delattr(ClipEncoder, "features")
    assert [_invoke(*command).stdout for command in commands] == first


def test_a_reference_is_made_and_read(models, data, tmp_path):
    from terrasynth.eval.evaluation.reference import Reference

    done = _invoke("reference", data, "--size", 32, "--encoder", models.classifier, "--name", "tiny", "--out",
                   tmp_path / "tiny-test-32")
    assert done.exit_code == 0
    assert "n = 9 against 9, seed 0" in done.stdout
    found = Reference.load(tmp_path / "tiny-test-32")
    assert (found.name, found.data, found.split, found.size, len(found.files)) == (
        "tiny-test-32", "tiny", "test", (32, 32), 18)


def test_a_run_is_compared_with_a_reference_as_with_its_pictures(models, made, data, tmp_path):
    from terrasynth.eval import FeatureStatistics, frechet_distance, load_classifier
    from terrasynth.synthesis.cli.real_data import real_images

    size = RunPictures.read(made, 1).size
    _invoke("reference", data, "--size", size[0], "--encoder", models.classifier, "--out", tmp_path / "reference")
    found, = against_reference(made, str(tmp_path / "reference"), [str(models.classifier)])
    parts = RunPictures.read(made).images, real_images(data, "test", None, size).images
    classifier = load_classifier(models.classifier)
    exact = frechet_distance(*(FeatureStatistics.of(classifier.features(part)) for part in parts))
    assert found.distance == pytest.approx(exact, rel=1e-4)
    assert (found.n, found.n_reference, found.floor.n) == (15, 18, 9)
    with pytest.raises(ValueError, match="has no statistics of local clip"):
        against_reference(made, str(tmp_path / "reference"), [str(models.encoder)])
    with pytest.raises(ValueError, match=rf"128 x 128 px and the images are {size[0]} x {size[1]} px"):
        against_reference(made, "ucm-test-128", ["scene-ucm"])


def test_a_folder_without_a_run_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match=r"has no data/train-\*\.parquet"):
        _invoke("duplicates", tmp_path)


def test_rows_are_read_with_what_they_say(made):
    found = RunPictures.read(made)
    rows = pq.read_table(made / "data").to_pylist()
    assert list(found.ids) == [row["id"] for row in rows]
    assert list(found.texts) == [row["text"] for row in rows]
    assert found.images.shape == (15, *found.size[::-1], 3)
    assert RunPictures.read(made, 4).ids == found.ids[:4]
