"""A LoRA on other weights than its own, or at another size, draws all the same: it has to be said."""

import shutil

import pytest

from terrasynth.eval import content_hash
from terrasynth.synthesis import Recipe, load_generator, plan, run
from terrasynth.synthesis.events import Planned
from terrasynth.synthesis.generators.conditions.caption import Tuned
from terrasynth.synthesis.generators.tuned_for import tuned_otherwise
from tests.synthesis.generators.test_generators_lora import save_lora, save_peft
from tests.synthesis.helpers import find
from tests.tiny_pipelines import SIZE, pixart, sd

LARGER = 2 * SIZE


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {"sd": sd(root / "sd"), "other": sd(root / "other", seed=1)}


def tuned(base, folder, part="unet", **more):
    """A LoRA whose folder says what the trainings here say."""
    said = {"base": base.name, "base_revision": content_hash(base), "base_network": content_hash(base / part)}
    Tuned(**said | {"size": SIZE} | more).save(folder)
    return folder


@pytest.fixture(scope="module")
def lora(bases, tmp_path_factory):
    return tuned(bases["sd"], save_lora(bases["sd"], tmp_path_factory.mktemp("loras") / "nir"), size=LARGER)


def test_without_a_size_it_draws_the_one_that_it_was_tuned_at(bases, lora):
    found = find(str(bases["sd"]), lora=str(lora))
    assert (found.height, found.width) == (LARGER, LARGER)
    assert tuned_otherwise(found) == ()
    drawn = load_generator(str(bases["sd"]), lora=str(lora), steps=1, device="cpu").generate(["a river"], [0])
    assert drawn.shape == (1, LARGER, LARGER, 3)


def test_another_size_is_said(bases, lora):
    assert tuned_otherwise(find(str(bases["sd"]), lora=str(lora), height=SIZE)) == (
        "LoRA nir was tuned on images of 32 x 32 px, and draws 32 x 16 px; leave generator.height and width out to "
        "draw as it was tuned, or tune it with model.size",)


def test_a_whole_pipeline_says_its_size_too(bases, tmp_path):
    folder = shutil.copytree(bases["sd"], tmp_path / "full")
    Tuned(size=LARGER).save(folder)
    assert find(str(folder)).width == LARGER
    [line] = tuned_otherwise(find(str(folder), height=SIZE, width=SIZE))
    assert line.startswith("generator full was tuned on images of 32 x 32 px, and draws 16 x 16 px")


def test_other_weights_of_the_same_shapes_are_said(bases, lora):
    [line] = tuned_otherwise(find(str(bases["other"]), lora=str(lora)))
    assert line == (f"LoRA nir was trained on another unet than that of other, though of the same shapes: on that of "
                    f"sd ({content_hash(bases['sd'])}); take that one as generator.model, or train a LoRA on this one")


def test_the_same_weights_are_known_under_any_name(bases, lora, tmp_path):
    moved = shutil.copytree(bases["sd"], tmp_path / "moved")
    (moved / "scheduler" / "more.json").write_text("{}")
    found = find(str(moved), lora=str(lora))
    assert found.revision.partition("+")[0] != content_hash(bases["sd"])
    assert tuned_otherwise(found) == ()


def test_weights_that_changed_under_their_name_are_said(bases, lora, tmp_path):
    changed = shutil.copytree(bases["other"], tmp_path / "sd")
    [line] = tuned_otherwise(find(str(changed), lora=str(lora)))
    assert "was trained on another unet than that of sd," in line


def test_a_lora_of_others_is_compared_by_name(bases, tmp_path):
    folder = save_lora(bases["sd"], tmp_path / "theirs")
    assert tuned_otherwise(find(str(bases["sd"]), lora=str(folder))) == ()  # it says nothing
    (folder / "README.md").write_text("---\nbase_model: someone/SD\n---\n")
    assert tuned_otherwise(find(str(bases["sd"]), lora=str(folder))) == ()
    assert tuned_otherwise(find(str(bases["other"]), lora=str(folder))) == (
        "LoRA theirs says that it was trained on someone/SD, and is added to other; where these are not the same "
        "weights, take that one as generator.model",)


def test_a_transformer_is_compared_too(tmp_path):
    own, other = pixart(tmp_path / "own"), pixart(tmp_path / "other", seed=1)
    folder = tuned(own, save_peft(own, tmp_path / "lora", "transformer"), "transformer")
    assert tuned_otherwise(find(str(own), lora=str(folder))) == ()
    assert "on another transformer than that of other" in tuned_otherwise(find(str(other), lora=str(folder)))[0]


def test_plan_run_and_generate_say_it(terrasynth, tree, bases, lora, tmp_path):
    tree |= {"generator": {"model": str(bases["other"]), "steps": 1, "lora": str(lora), "height": SIZE, "width": SIZE},
             "filters": [], "target": {"per_class": 1, "max_attempts": 1},
             "prompts": {"expander": "file", "path": str(tmp_path / "texts.jsonl")}}
    (tmp_path / "texts.jsonl").write_text('{"text": "a river", "label": "river"}\n')
    expected = tuned_otherwise(find(str(bases["other"]), lora=str(lora), height=SIZE, width=SIZE))
    assert len(expected) == 2
    planned = []
    assert plan(Recipe.parse(tree), on_step=planned.append, on_note=planned.append).notes[:2] == expected
    assert tuple(planned[:2]) == expected
    assert "drawing first images" in planned[-1]  # all of it is said before anything is drawn
    told = []
    run(Recipe.parse(tree), tmp_path / "run", on_event=told.append)
    assert next(event for event in told if isinstance(event, Planned)).notes[:2] == expected
    card = (tmp_path / "run" / "README.md").read_text()
    assert all(f"> **Warning:** {line}." in card for line in expected)
    assert expected[0] in (tmp_path / "run" / "report" / "report.json").read_text()
    code, _, lines = terrasynth("generate", "a river", "--model", bases["other"], "--lora", lora, "--steps", 1,
                                "--device", "cpu", "--out", tmp_path / "images")
    assert code == 0
    assert any(f"note: {expected[1]}" in line for line in lines)


def test_what_is_drawn_by_default_is_in_the_recipe_of_a_run(tree, bases, lora, tmp_path):
    tree |= {"generator": {"model": str(bases["sd"]), "steps": 1, "lora": str(lora)}, "filters": [],
             "target": {"per_class": 1, "max_attempts": 1},
             "prompts": {"expander": "file", "path": str(tmp_path / "texts.jsonl")}}
    (tmp_path / "texts.jsonl").write_text('{"text": "a river", "label": "river"}\n')
    run(Recipe.parse(tree), tmp_path / "run")
    written = Recipe.load(str(tmp_path / "run" / "recipe.yaml")).generator
    assert (written.height, written.width) == (LARGER, LARGER)
    assert run(Recipe.parse(tree), tmp_path / "run").drawn == 0
