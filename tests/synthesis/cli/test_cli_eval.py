"""`terrasynth eval` as a user meets it: a command that is a group, and its subcommands about filters."""

import hashlib
import re

import pytest
import yaml

from terrasynth.synthesis.cli.real_data import RealData
from tests.synthesis.conftest import CLASSES
from tests.tiny import labeled
from tests.training.data.builders import class_folders


@pytest.fixture
def real(tmp_path):
    return labeled(tmp_path / "tiny-real", CLASSES)


def test_help_shows_both_ways(terrasynth):
    code, out, _ = terrasynth("eval", "--help")
    assert code == 0
    assert out.startswith("Usage: terrasynth eval RUN [OPTIONS]\n   or: terrasynth eval COMMAND")
    for word in ("--encoder", "filters", "features", "calibrate", "memorisation"):
        assert word in out
    code, out, _ = terrasynth("eval", "anything", "--help")
    assert (code, out.splitlines()[0]) == (0, "Usage: terrasynth eval RUN [OPTIONS]")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'RUN'"),
        (["nowhere"], "no data/train-*.parquet"),
        (["--seed", "1", "nowhere"], "no data/train-*.parquet"),
        (["filtres"], "is no folder and no subcommand of eval (did you mean 'filters'?)"),
        (["./filters"], "no data/train-*.parquet"),
        (["filters", "nowhere"], "no recipe.yaml"),
        (["calibrate", "nowhere.json", "--out", "x"], "does not exist"),
        (["features", "nowhere.json", "--out", "x.npz"], "has to end in .safetensors"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(terrasynth, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, lines = terrasynth("eval", *arguments)
    assert (code, len(lines)) == (2, 1)
    assert message in lines[0]


def test_a_folder_named_like_a_command_is_reached_by_its_path(terrasynth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filtres").mkdir()
    code, _, lines = terrasynth("eval", "filtres")
    assert (code, len(lines)) == (2, 1)
    assert "no data/train-*.parquet" in lines[0]


def test_how_real_data_are_read_is_said_once_for_all_splits(tmp_path, capsys):
    class_folders(tmp_path / "photos", captions=False)
    (tmp_path / "data.yaml").write_text('{data: photos, caption: "an image of {label}"}')
    real = RealData(tmp_path / "data.yaml")
    for split in ("train", "val"):
        assert len(real.images(split, None, (32, 32)).images) > 0
    assert capsys.readouterr().err.count("images without a caption") == 1


def test_from_real_data_to_filters_to_their_control(terrasynth, real, tree, models, tmp_path):
    features, made = tmp_path / "train.safetensors", tmp_path / "calibration"
    code, out, _ = terrasynth("eval", "features", real, "--held-out", "val", "--size", 32, "--out", features)
    assert code == 0
    assert out.startswith(f"{features}   160 features of 20 images")
    code, out, _ = terrasynth("eval", "calibrate", real, "--size", 32, "--classifier", models.classifier, "--out", made)
    assert code == 0
    assert f"cp {made / 'calibration.json'} {models.classifier}/" in out
    n = int(re.search(r"^pass_real  up to (0\.\d+), which (\d+) images can tell$", out, re.M)[2])
    assert f"up to {(100 * (n - 1) // n) / 100:g}, which {n} images" in out
    assert sorted(path.name for path in made.iterdir()) == ["calibration.json", "quality.json"]
    quality = {"kind": "quality", "measure": "sharpness", "pass_real": 0.9, "calibration": str(made / "quality.json")}
    copies = {"kind": "near_copy", "reference": str(features), "max_similarity": 0.99}
    tree["filters"] = [quality, copies]
    tree["target"] = {"per_class": 2, "max_attempts": 8}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree))
    code, _, _ = terrasynth("run", recipe, "--out", tmp_path / "run")
    assert code in (0, 1)
    options = ["--try", f"scene={{classifier: {models.classifier}, top: 1}}", "--real", real, "--encoder",
               models.other_encoder, "--classifier", models.classifier, "--out", tmp_path / "page"]
    code, out, lines = terrasynth("eval", "filters", tmp_path / "run", *options)
    assert (code, lines) == (0, [])
    names = [line.split(":")[0] for line in out.splitlines() if not line.startswith(" ")]
    assert names[:4] == ["quality", "near_copy", "scene (tried, not in the recipe)", "all filters of the recipe"]
    assert "real tiny-real, split test (n = 20)" in out
    page = (tmp_path / "page" / "index.html").read_text()
    assert str(tmp_path) not in page
    content = hashlib.sha256(features.read_bytes()).hexdigest()[:16]
    told = (f"content {content}, encoder thumbnail, data tiny-real, pictures 20, orientations 8, size 32, split train, "
            "held out 20 of val")
    assert f"near_copy, its file: {told}" in page
    features.unlink()  # an evaluation says what the run was decided by, wherever that is now
    judges = ["--encoder", models.other_encoder, "--classifier", models.classifier, "--report", tmp_path / "judged"]
    code, _, _ = terrasynth("eval", tmp_path / "run", *judges)
    page = (tmp_path / "judged" / "index.html").read_text()
    assert code == 0
    assert told in page
    assert str(tmp_path) not in page
