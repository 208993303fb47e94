"""`terrasynth target` as a user meets it."""


import pytest
import yaml

from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.conftest import CLASSES
from tests.tiny import labeled


@pytest.fixture
def data(tmp_path):
    return labeled(tmp_path / "data", CLASSES)


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / "val.csv"
    path.write_text("y_true,y_pred\n" + "river,beach\n" * 6 + "river,river\n" * 4 + "beach,beach\n" * 10)
    return path


def test_predictions_make_a_recipe_that_runs(terrasynth, predictions, recipe_file, tmp_path):
    out = tmp_path / "own.yaml"
    command = ("target", "--predictions", predictions, "--recipe", recipe_file, "--images", 6, "--out", out)
    code, said, errors = terrasynth(*command)
    assert (code, errors) == (0, [])
    assert said.splitlines()[0].split() == ["class", "n", "recall", "most", "confused", "with", "images", "now",
                                            "allotted"]
    assert f"next       terrasynth run {out} --out RUN" in said
    assert "val.csv does not say of which split it is" in said
    assert "# Measured: val.csv, split val; 14 of 20 images recognized." in out.read_text()
    first = out.read_bytes()
    code, said, _ = terrasynth(*command)
    assert (code, out.read_bytes()) == (0, first)
    assert f"recipe     {out} (as it was)" in said
    wanted = Recipe.load(out).target.per_class
    assert sum(wanted.values()) == 6
    code, said, _ = terrasynth("run", out, "--out", tmp_path / "run")
    assert code == 0
    assert "6 images of 3 classes" in said


def test_a_model_is_run_over_val(terrasynth, data, models, recipe_file, tmp_path):
    code, said, errors = terrasynth("target", "--model", models.classifier, "--data", data, "--recipe", recipe_file,
                                    "--images", 9, "--out", tmp_path / "own.yaml")
    assert code == 0
    assert any("over 20 images of split val of data" in line for line in errors)
    assert "of 20 images recognized" in (tmp_path / "own.yaml").read_text()
    assert "n = 6 to 7 images a class" in said


def test_rounds_measure_allot_and_draw(terrasynth, data, models, finished, tmp_path):
    """A probe learns from train and the run's images, the run grows, and the probe learns again."""
    totals = []
    for number in (1, 2):
        out = tmp_path / f"round-{number}.yaml"
        code, said, errors = terrasynth("target", "--features", models.encoder, "--data", data, "--grow", finished,
                                        "--images", 3, "--cache", "none", "--out", out)
        assert code == 0, errors
        assert f"next       terrasynth run {out} --out {finished}" in said
        synthetic = 15 + 3 * (number - 1)
        assert f"learned from 20 real images and {synthetic} of the run at weight" in out.read_text()
        assert terrasynth("run", out, "--out", finished)[0] == 0
        totals.append(sum(Recipe.load(finished / "recipe.yaml").target.per_class.values()))
    assert totals == [18, 21]


@pytest.mark.parametrize(("options", "message"), [
    ("", "give one of --predictions, --model and --features; none is given"),
    ("--predictions {p} --model x", "--predictions and --model is given"),
    ("--model scene-ucm", "--data goes with --model or --features, which are run over its images; add it"),
    ("--predictions {p} --data {d}", "leave it out"),
    ("--model scene-ucm --data {d} --labels a,b", "--labels names the numbers of --predictions"),
    ("--model scene-ucm --data {d} --split test", "choose on val"),
    ("--predictions {p} --split test", "choose on val"),
    ("--predictions nowhere.csv", "'nowhere.csv' cannot be read"),
    ("--model scene-ucn --data {d}", "unknown name (did you mean 'scene-ucm'?)"),
    ("--model scene-ucm --data {d} --split vol", "has no pairs in split 'vol'"),
    ("--predictions {p} --recipe nowhere", "is no file and no shipped recipe"),
    ("--predictions {p} --images 2", "--images 2 for 21 classes"),
    ("--predictions {p} --grow nowhere --images 30", "holds no run"),
])
def test_wrong_input_is_one_line_and_exit_2(terrasynth, data, predictions, tmp_path, options, message):
    words = options.format(p=predictions, d=data).split()
    code, _, lines = terrasynth("target", *words, "--out", tmp_path / "own.yaml")
    assert code == 2
    assert message in lines[-1]
    assert len(lines) == 1
    assert not (tmp_path / "own.yaml").exists()


def test_another_file_is_not_replaced(terrasynth, predictions, recipe_file, tmp_path):
    command = ("target", "--predictions", predictions, "--recipe", recipe_file, "--out", recipe_file)
    before = recipe_file.read_text()
    code, _, lines = terrasynth(*command)
    assert (code, recipe_file.read_text()) == (2, before)
    assert "say --overwrite" in lines[-1]
    assert terrasynth(*command, "--overwrite")[0] == 0
    assert yaml.safe_load(recipe_file.read_text())["name"] == "tiny-targeted"
