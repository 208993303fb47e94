import re

import pytest
import yaml

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.recipe import SHIPPED, Recipe

BASE = {"generator": {"model": "ldm-ucm"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sead": 1}, "unknown key 'sead' (did you mean 'seed'?)"),
        ({"scene": {"top": 1}, "float": 1}, "unknown key 'scene' (did you mean 'seed'?)"),
        ({"generator": {"model": "m", "guidence": 2}}, "'generator.guidence' (did you mean 'guidance'?)"),
        ({"generator": {"model": "m", "guidance": -1.0}}, "generator.guidance -1.0 is wrong"),
        ({"generator": {"model": "m", "guidance": float("nan")}}, "generator.guidance nan is wrong"),
        ({"generator": {"steps": 3}}, "generator.model is missing"),
        ({"filters": [{"kind": "allignment"}]}, "'allignment' is no filter (did you mean 'alignment'?)"),
        ({"filters": [{"kind": "alignment"}]}, "exactly one of min_score, pass_real and quantile"),
        ({"filters": [{"kind": "alignment", "min_score": 0.1, "pass_real": 0.9}]}, "exactly one of"),
        ({"filters": [{"max_similarity": 0.9}]}, "filters.0 names no kind; filters: alignment, scene"),
        ({"filters": [{"kind": "alignment", "quantile": 0.2}]}, "quantile and calibrate_on belong together"),
        ({"filters": [{"kind": "scene", "top": 1, "min_probability": 0.5}]}, "exactly one of min_probability"),
        ({"filters": [{"kind": "quality", "measure": "blur", "max_score": 1}]}, "filters.0.measure 'blur' is wrong"),
        ({"filters": [{"kind": "quality", "measure": "seams", "min_score": 1}]}, "seams is bad when high; give max_sc"),
        ({"filters": [{"kind": "near_copy", "max_similarity": 0.9}]}, "filters.0.reference is missing"),
        ({"filters": [{"kind": "duplicate", "max_similarity": 0.9, "max": 1}]}, "unknown key 'filters.0.max'"),
        ({"target": {"per_class": "5"}}, "target.per_class '5' is wrong"),
        ({"target": {"per_class": 2.5}}, "target.per_class 2.5 is wrong"),
        ({"target": {"per_class": 0}}, "target.per_class 0 is wrong"),
        ({"runtime": {"micro_batch": "False"}}, "runtime.micro_batch 'False' is wrong"),
        ({"runtime": {"dtype": "half"}}, "'float32', 'bfloat16' or 'float16'"),
        ({"seed": True}, "seed True is wrong"),
        ({"prompts": {"classes": []}}, "name at least one class"),
        ({"prompts": {"classes": ["beach", "beach"]}}, "each only once"),
        ({"prompts": {"checks": {"distnct": True}}}, "'prompts.checks.distnct' (did you mean 'distinct'?); known keys"),
        ({"prompts": {"checks": {"near": 2.0}}}, "prompts.checks.near 2.0 is wrong"),
        ({"prompts": {"checks": {"max_tokens": "all"}}}, "prompts.checks.max_tokens 'all' is wrong"),
        ({"prompts": {"checks": {"distinct": "yes"}}}, "prompts.checks.distinct 'yes' is wrong"),
        ({"prompts": {"checks": {"profile": "ucn"}}}, "prompts.checks.profile: profile 'ucn' is unknown"),
        ({"prompts": {"checks": {"strict_vocabulary": True}}}, "prompts.checks: strict_vocabulary needs a vocabulary"),
        ({"output": {"image_format": "tiff"}}, "'png', 'webp' or 'jpeg'"),
    ],
)
def test_mistake_is_named_on_one_line(change, message):
    with pytest.raises(InputError) as caught:
        Recipe.parse(BASE | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_mistake_is_named_once():
    with pytest.raises(InputError) as caught:
        Recipe.parse(BASE | {"sead": 1, "runtime": {"micro_batch": "x", "dtype": "half"}})
    assert str(caught.value).count("is wrong") == 2
    assert "sead" in str(caught.value)


def test_written_recipe_is_the_same_recipe(recipe):
    assert Recipe.parse(yaml.safe_load(yaml.safe_dump(recipe.tree()))) == recipe


def test_overrides_are_yaml_and_reach_into_lists(recipe_file):
    loaded = Recipe.load(recipe_file, ["target.per_class=7", "filters.0.min_score=0.25", "output.image_format=webp"])
    assert loaded.target.per_class == 7
    assert loaded.filters[0].min_score == 0.25
    assert loaded.output.image_format == "webp"
    longer = Recipe.load(recipe_file, ["filters.2.kind=review", "filters.2.undecided=drop"])
    assert [each.kind for each in longer.filters] == [*(each.kind for each in loaded.filters), "review"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("target.per_class", "is not of the form key=value"),
        ("filters.7.kind=alignment", "'7' is no place in a list of 2"),
        ("seed.x=1", "'seed' is a plain value"),
        ("seed=[", "the value is not YAML"),
        ("target.per_clas=3", "did you mean 'per_class'?"),
    ],
)
def test_bad_override_is_named(recipe_file, override, message):
    with pytest.raises(InputError) as caught:
        Recipe.load(recipe_file, ["seed=1", override])
    assert message in str(caught.value)


def test_unreadable_files_are_named(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match=r"broken\.yaml' cannot be read"):
        Recipe.load(broken)
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    with pytest.raises(InputError, match="holds no settings"):
        Recipe.load(empty)
    (tmp_path / "recipe.yaml").write_text("{}")
    meant = re.escape(f"no shipped recipe (did you mean '{tmp_path / 'recipe.yaml'}'?); shipped: ")
    with pytest.raises(InputError, match=meant):
        Recipe.load(tmp_path / "recipie.yaml")
    with pytest.raises(InputError, match=r"no shipped recipe \(did you mean 'demo'\?\); shipped: .*demo"):
        Recipe.load("dmeo")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_load_by_name(path):
    assert Recipe.load(path.stem) == Recipe.load(path)


def test_options_of_the_expander_pass_through():
    recipe = Recipe.parse(BASE | {"prompts": {"expander": "file", "path": "prompts.txt"}})
    assert recipe.prompts.options == {"path": "prompts.txt"}


def test_checks_of_prompts_are_no_option_of_the_expander_and_none_unless_asked_for(tree):
    assert Recipe.parse(tree).prompts.checks is None
    tree["prompts"]["checks"] = {"distinct": True, "max_tokens": "auto"}
    recipe = Recipe.parse(tree)
    assert recipe.prompts.options == {}
    assert (recipe.prompts.checks.distinct, recipe.prompts.checks.keep_class) == (True, True)
    assert Recipe.parse(yaml.safe_load(yaml.safe_dump(recipe.tree()))) == recipe


def test_filters_of_one_kind_get_names_of_their_own():
    two = [{"kind": "alignment", "min_score": 0.1}, {"kind": "alignment", "encoder": "b", "min_score": 0.1}]
    recipe = Recipe.parse(BASE | {"filters": [*two, {"kind": "duplicate", "max_similarity": 1}]})
    assert recipe.filter_names == ["alignment", "alignment_2", "duplicate"]
    assert recipe.filters[2].encoder == "thumbnail"
