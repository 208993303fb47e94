"""`train ... --recipe`: what was trained stands in the recipe, and all else in it stays."""

from pathlib import Path

import pytest

from terrasynth.synthesis import Recipe
from terrasynth.training.own_classes.into_recipe import check_recipe, put_judge, put_lora
from terrasynth.training.presets import load_preset
from tests.tiny_pipelines import sd
from tests.training.finetuning import LOOP, write_pictures
from tests.training.judges.conftest import data, judge  # noqa: F401 - fixtures

BLOCK = """\
name: x   # a name
generator:
  model: ldm-ucm   # who draws
  steps: 4
prompts: {classes: all}
filters:   # in this order
  - {kind: duplicate, max_similarity: 0.95}
"""


def test_a_lora_stands_beside_its_base_and_comments_stay(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(BLOCK)
    said = put_lora(path, "other", Path("own #1/lora"))
    assert said == f"{path} has other with the LoRA own #1/lora now"
    assert path.read_text() == BLOCK.replace("model: ldm-ucm   # who draws\n",
                                             "model: other   # who draws\n  lora: 'own #1/lora'\n")
    assert Recipe.load(path).generator.lora == "own #1/lora"
    put_lora(path, "ldm-ucm", Path("second"))
    assert path.read_text() == BLOCK.replace("# who draws\n", "# who draws\n  lora: second\n")
    assert put_lora(path, "ldm-ucm", Path("second")).endswith("the LoRA second already")


def test_a_judge_stands_first_where_no_comment_waits_for_it(tmp_path, judge):  # noqa: F811
    path = tmp_path / "r.yaml"
    path.write_text(BLOCK)
    put_judge(path, judge)
    assert [each.kind for each in Recipe.load(path).filters] == ["alignment", "scene", "duplicate"]
    assert Recipe.load(path).filters[0].encoder == str(judge.out)
    before = path.read_text()
    assert "already" in put_judge(path, judge)
    assert path.read_text() == before


def trained_lora(terrasynth, folder, name, settings):
    """What `train lora --recipe` starts from, the recipe, and what it printed."""
    base, pictures, recipe = sd(folder / "sd"), write_pictures(folder / "data"), folder / "r.yaml"
    recipe.write_text(BLOCK)
    loop = [part for key, value in {**LOOP, **settings}.items()
            for part in ("--set", f"{key}={'null' if value is None else value}")]
    command = ["train", "lora", "--base", base, "--data", pictures, "--out", name, "--recipe", "r.yaml"]
    code, out, errors = terrasynth(*command, *loop)
    assert code == 0, errors
    return base, recipe, out


def test_the_command_does_it(tmp_path, terrasynth, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base, recipe, out = trained_lora(terrasynth, tmp_path, "own lora", {"loop.max_steps": 1})
    assert f"written    r.yaml has {base} with the LoRA own lora now" in out.splitlines()
    assert Recipe.load(recipe).generator.lora == "own lora"


@pytest.mark.parametrize(("preset", "text", "message"), [
    ("scene-ucm", BLOCK, "preset 'scene-ucm' makes no judge and no LoRA; leave --recipe out"),
    ("full", BLOCK, "preset 'full' makes no judge and no LoRA"),
    ("judge", BLOCK.partition("filters")[0] + "filters: []\n", "has no list of filters with a line each"),
    ("lora", "generator: 3\n", "generator"),
    ("lora", None, "is no file; `terrasynth init` writes a recipe"),
])
def test_what_has_no_place_is_said_before_the_training(tmp_path, preset, text, message):
    path = tmp_path / "r.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        check_recipe(path, preset, load_preset(preset), tmp_path / "out", "ldm-ucm")


def test_a_lora_that_is_no_better_is_not_put_there(tmp_path, terrasynth, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base, recipe, out = trained_lora(terrasynth, tmp_path, "far", {"loop.learning_rate": 10.0})
    assert out.splitlines()[-1] == (f"not put    r.yaml stays as it is, for the LoRA is no better than {base}; the "
                                    "line above puts it in all the same")
    assert out.splitlines()[-2].startswith("recipe     generator: {model: ")
    assert recipe.read_text() == BLOCK
