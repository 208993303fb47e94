"""A number of images for each class of its own."""

import shutil

import pytest
import yaml

from terrasynth.synthesis import plan, run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import fingerprint, rows


def parsed(tree, per_class, classes="all", **more):
    return Recipe.parse(tree | {"prompts": {"classes": classes},
                                "target": {"per_class": per_class, "max_attempts": 40} | more})


def counts(run):
    labels = [row["label"] for row in rows(run)]
    return {label: labels.count(label) for label in sorted(set(labels))}


@pytest.fixture(scope="module")
def tree(models):
    return {"name": "by-class", "generator": {"model": str(models.generator), "steps": 1, "guidance": 1.0},
            "filters": [{"kind": "alignment", "encoder": str(models.encoder), "min_score": 0.0}],
            "runtime": {"block_size": 2, "device": "cpu", "dtype": "float32"}}


@pytest.fixture(scope="module")
def made(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("by-class") / "run"
    result = run(parsed(tree, {"tennis court": 1, "beach": 3}), out)
    assert not result.missed
    return out


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


def test_the_mapping_chooses_classes_and_numbers(made):
    assert counts(made) == {"beach": 3, "tenniscourt": 1}
    assert list(verify(made)) == []
    assert yaml.safe_load((made / "recipe.yaml").read_text())["target"]["per_class"] == {"beach": 3, "tenniscourt": 1}
    assert Recipe.load(made / "recipe.yaml").target.described == "1 to 3"
    assert "--set target.per_class=" not in (made / "README.md").read_text()


def test_its_own_recipe_has_nothing_to_do(made, copy):
    assert run(Recipe.load(copy / "recipe.yaml"), copy).drawn == 0
    now, before = fingerprint(copy), fingerprint(made)
    assert now.keys() == before.keys()
    assert {name for name in now if now[name] != before[name]} == {"finished.json"}, "which knows times of files"


def test_numbers_decide_no_image(tree, made, tmp_path):
    run(parsed(tree, 3, ["beach", "tenniscourt"]), tmp_path / "run")
    every = {row["id"]: row["image"]["bytes"] for row in rows(tmp_path / "run")}
    assert len(every) == 6
    assert {row["id"]: row["image"]["bytes"] for row in rows(made)}.items() <= every.items()


def test_one_class_grows_and_the_others_stay(tree, made, copy):
    run(parsed(tree, {"beach": 3, "tenniscourt": 4}), copy)
    assert counts(copy) == {"beach": 3, "tenniscourt": 4}
    before = [row["id"] for row in rows(made)]
    assert [row["id"] for row in rows(copy) if row["id"] in before] == before
    assert list(verify(copy)) == []


def test_a_smaller_number_takes_nothing_away_unless_it_is_told_to(tree, copy, caplog):
    fewer = parsed(tree, {"beach": 1, "tenniscourt": 2})
    run(fewer, copy)
    assert counts(copy) == {"beach": 3, "tenniscourt": 2}
    assert "target.per_class 1 to 2" in caplog.text
    assert list(verify(copy)) == []
    run(fewer, copy, shrink=True)
    assert counts(copy) == {"beach": 1, "tenniscourt": 2}


def test_a_plan_counts_by_class(tree, tmp_path):
    found = plan(parsed(tree, {"beach": 3, "tenniscourt": 1}))
    assert (found.at_least, set(found.prompts)) == (4 + 2, {"beach", "tenniscourt"})


@pytest.mark.parametrize(("per_class", "classes", "said"), [
    ({"beach": 1, "volcanos": 1}, "all", "class 'volcanos' does not exist"),
    ({"beach": 1, "river": 2}, ["beach"], "target.per_class names 'river', which prompts.classes does not"),
    ({"beach": 1}, ["beach", "river"], "target.per_class has no number for class 'river'"),
    ({"tennis court": 1, "tenniscourt": 2}, "all", "are the same class 'tenniscourt'"),
    ({"beach": 41}, "all", "max_attempts 40 is below target.per_class 41, so that not every class"),
])
def test_numbers_and_classes_have_to_fit(tree, tmp_path, per_class, classes, said):
    with pytest.raises(InputError, match=said):
        run(parsed(tree, per_class, classes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("per_class", [{}, {"beach": 0}, {"beach": "many"}, {"beach": 1.5}, {"beach": True}, [3], -1])
def test_what_is_no_number_of_images_is_one_line(tree, per_class):
    with pytest.raises(InputError, match=r"^target\.per_class") as refused:
        parsed(tree, per_class)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_number_is_set_on_the_command_line(tree, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(parsed(tree, {"beach": 1, "river": 2}).tree()))
    recipe = Recipe.load(path, ["target.per_class.beach=5"])
    assert recipe.target.per_class == {"beach": 5, "river": 2}
