"""`terrasynth eval RUN --report`, from a run and real pictures to the page."""

import json

import pytest
import yaml
from PIL import Image

from tests.synthesis.conftest import CLASSES
from tests.synthesis.helpers import fingerprint, rows
from tests.tiny import tiny_pictures
from tests.tiny_sd import tiny_autoencoder


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tiny-real"
    folder.mkdir()
    with (folder / "pairs.jsonl").open("w") as file:
        for number, picture in enumerate(tiny_pictures(36, size=40)):
            Image.fromarray(picture).save(folder / f"{number}.png")
            row = {"file": f"{number}.png", "class": CLASSES[number % 3], "captions": [f"a {CLASSES[number % 3]}"],
                   "split": ("train", "val", "test")[number // 12]}
            file.write(json.dumps(row) + "\n")
    return folder


@pytest.fixture
def made(terrasynth, tree, tmp_path):
    """Make a run, with settings changed."""

    def make(name, **generator):
        tree["generator"] |= generator
        tree["target"] = {"per_class": 3, "max_attempts": 8}
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump(tree))
        assert terrasynth("run", recipe, "--out", tmp_path / name)[0] in (0, 1)
        return tmp_path / name

    return make


@pytest.fixture
def judges(models, tmp_path):
    return ["--encoder", models.other_encoder, "--classifier", models.classifier, "--cache", tmp_path / "cache"]


def test_the_page_of_a_run_with_real_pictures_and_a_sweep(terrasynth, made, real, judges, models, tmp_path):
    run, other = made("run"), made("other", guidance=5.0)
    options = [run, "--real", real, "--sweep", other, "--features", models.encoder, *judges]
    for name in ("one", "two"):
        code, out, lines = terrasynth("eval", *options, "--report", tmp_path / name)
        assert (code, lines) == (0, [])
        assert out.splitlines()[-1] == f"page {tmp_path / name / 'index.html'}"
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")  # nor does the cache change a figure
    content = json.loads((tmp_path / "one" / "report.json").read_text())
    assert [each["guidance"] for each in content["sweep"]] == [3.0, 5.0]
    assert content["sweep"][0]["score"] == content["figures"]["alignment"]["score"]
    assert content["figures"]["further"][0]["frechet"]["dim"] == 16
    assert {each["name"] for each in content["histograms"]} == {"alignment", "duplicate"}
    assert (content["copies"]["n_train"], content["copies"]["n_held_out"]) == (12, 12)
    assert content["absent"] == {}
    known = {row["id"]: row for row in rows(run)}
    for pictures in content["pictures"].values():
        for each in pictures:
            row = known[each["id"]]
            assert (each["seed"], each["label"], each["text"]) == (row["seed"], row["label"], row["text"])
    page = (tmp_path / "one" / "index.html").read_text()
    assert str(tmp_path) not in page
    assert str(real.parent) not in page


def test_without_real_pictures_what_is_missing_has_a_reason(terrasynth, made, judges, tmp_path):
    run = made("run")
    (run / "report" / "report.json").unlink()
    code, _, _ = terrasynth("eval", run, *judges, "--report", tmp_path / "page")
    content = json.loads((tmp_path / "page" / "report.json").read_text())
    assert code == 0
    assert list(content["absent"]) == ["Distances and ceilings", "Copies of training images", "Score histograms"]
    assert content["copies"] is None
    assert all(row["note"] for row in content["table"] if row["value"] == "not measured")


def test_training_pictures_are_no_null_of_themselves(terrasynth, made, real, judges, tmp_path):
    options = ["--real", real, "--split", "train", *judges]
    code, _, _ = terrasynth("eval", made("run"), *options, "--report", tmp_path / "p")
    content = json.loads((tmp_path / "p" / "report.json").read_text())
    assert code == 0
    assert content["copies"] is None
    assert "give another --split" in content["absent"]["Copies of training images"]


def test_a_sweep_of_more_than_guidance_is_refused(terrasynth, made, judges, tmp_path):
    run, other, same = made("run"), made("other", guidance=5.0, steps=3), made("same", guidance=3.0, steps=2)
    for arguments, message in (
        (["--sweep", other, "--report", tmp_path / "p"], "in more than generator.guidance: pictures.generator.steps: "
                                                          "was 2, now 3; give runs of one recipe"),
        (["--sweep", same, "--report", tmp_path / "p"], "give runs of different guidance"),
        (["--sweep", tmp_path / "nowhere", "--report", tmp_path / "p"], "has no recipe.yaml"),
        (["--sweep", other], "--sweep is for the report; add --report FOLDER"),
        (["--train", "x"], "--train is for the report; add --report FOLDER"),
        (["--train", "x", "--report", tmp_path / "p"], "--train needs --real"),
        (["--features", "no-such-model"], "no-such-model"),
    ):
        code, _, lines = terrasynth("eval", run, *judges, *arguments)
        assert (code, len(lines)) == (2, 1), arguments
        assert message in lines[0]
        assert not (tmp_path / "p").exists()


def test_a_broken_real_picture_is_one_line(terrasynth, made, real, judges, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "0.png").write_bytes((real / "0.png").read_bytes()[:60])
    row = {"file": "0.png", "class": CLASSES[0], "captions": ["a place"], "split": "test"}
    (broken / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    code, _, lines = terrasynth("eval", made("run"), "--real", broken, *judges)
    assert code == 2
    assert "image '0.png' cannot be read" in lines[-1]


def test_the_page_names_the_autoencoder_of_the_recipe_without_its_folder(terrasynth, made, real, judges, tmp_path):
    run = made("run", vae=str(tiny_autoencoder(tmp_path / "private" / "small")))
    code, _, lines = terrasynth("eval", run, "--real", real, *judges, "--report", tmp_path / "page")
    assert code == 0, lines
    text = (tmp_path / "page" / "report.json").read_text()
    assert "sd, autoencoder small, " in json.loads(text)["about"]["generator"]
    assert "private" not in text
