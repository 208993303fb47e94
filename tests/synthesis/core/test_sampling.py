"""A model says how many steps and how much guidance it wants; who leaves them out takes those."""

import shutil

import pytest
import yaml

from terrasynth.eval.models.references import content_hash
from terrasynth.synthesis import Recipe, load_generator, run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.sampling import Sampling, read_sampling
from tests.synthesis.generators.test_generators_lora import save_lora
from tests.synthesis.helpers import find, rows


@pytest.fixture
def model(models, tmp_path):
    return shutil.copytree(models.generator, tmp_path / "sd")


def test_without_a_word_of_the_model_it_is_20_steps_and_guidance_3(model):
    source = find(str(model))
    assert (source.steps, source.guidance) == (20, 3.0)


def test_the_models_own_word_is_taken_where_none_is_given(model):
    before = content_hash(model)
    Sampling(steps=4, guidance=1.5).save(model)
    assert content_hash(model) == before, "how it is asked is no part of what it is"
    assert read_sampling(model) == Sampling(steps=4, guidance=1.5)
    assert (find(str(model)).steps, find(str(model)).guidance) == (4, 1.5)
    assert (find(str(model), steps=7).steps, find(str(model), steps=7).guidance) == (7, 1.5)
    assert find(str(model), guidance=0.0).guidance == 0.0
    assert find(str(model)).identity() == find(str(model), steps=4, guidance=1.5).identity()
    assert load_generator(str(model), device="cpu").source.steps == 4


def test_what_is_left_out_of_the_file_is_the_usual_number(model):
    Sampling(guidance=2.0).save(model)
    assert (find(str(model)).steps, find(str(model)).guidance) == (20, 2.0)
    assert "steps" not in (model / "sampling.json").read_text()


def test_a_lora_speaks_before_its_base(model, tmp_path):
    Sampling(steps=4, guidance=1.5).save(model)
    lora = tmp_path / "lora"
    save_lora(model, lora)
    assert (find(str(model), lora=str(lora)).steps, find(str(model), lora=str(lora)).guidance) == (4, 1.5)
    Sampling(steps=6).save(lora)
    assert (find(str(model), lora=str(lora)).steps, find(str(model), lora=str(lora)).guidance) == (6, 1.5)
    Sampling(steps=2, guidance=1.0).save(lora)
    assert (find(str(model), lora=str(lora)).steps, find(str(model), lora=str(lora)).guidance) == (2, 1.0)


def test_a_run_writes_down_what_it_took(model, tmp_path):
    Sampling(steps=1, guidance=1.5).save(model)
    tree = {"name": "t", "generator": {"model": str(model)}, "prompts": {"classes": ["beach"]},
            "target": {"per_class": 1, "max_attempts": 1},
            "runtime": {"device": "cpu", "dtype": "float32"}}
    run(Recipe.parse(tree), tmp_path / "run")
    written = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["generator"]
    assert (written["steps"], written["guidance"]) == (1, 1.5)
    assert {(row["steps"], row["guidance"]) for row in rows(tmp_path / "run")} == {(1, 1.5)}
    (model / "sampling.json").unlink()
    assert run(Recipe.load(tmp_path / "run" / "recipe.yaml"), tmp_path / "run").drawn == 0
    with pytest.raises(InputError, match="guidance"):
        run(Recipe.parse(tree), tmp_path / "run")


@pytest.mark.parametrize(("content", "said"), [
    ("{", "cannot be read"), ("[]", "sampling.json: it [] is wrong"),
    ('{"steps": 0}', "steps 0 is wrong: input"),
    ('{"guidance": -1}', "guidance -1"), ('{"guidance": "2"}', "guidance '2'"),
    ('{"step": 4}', "key 'step' (did you mean 'steps'?)"),
    ('{"steps": 4.5}', "steps 4.5"), ('{"guidance": NaN}', "guidance nan"), ("[" * 100_000, "cannot be read"),
])
def test_a_file_that_says_something_else_is_one_line(model, content, said):
    (model / "sampling.json").write_text(content)
    with pytest.raises(InputError, match=r"sd/sampling\.json") as refused:
        find(str(model))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("settings", "said"), [
    ({"steps": 0}, "generator.steps 0 is wrong"), ({"guidance": 101}, "generator.guidance 101"),
    ({"guidence": 2}, "unknown key 'generator.guidence' (did you mean 'guidance'?)"),
    ({"micro_batch": 0}, "runtime.micro_batch 0 is wrong"),
    ({"gsd": 0}, "generator.conditioning.gsd 0"), ({"foo": None}, "unknown key 'generator.foo'"),
])
def test_settings_of_a_call_are_those_of_a_recipe(model, settings, said):
    with pytest.raises(InputError) as refused:
        load_generator(str(model), **settings)
    assert said in str(refused.value)


@pytest.mark.parametrize(("name", "guidance"), [("ldm-ucm", 2.0), ("mhn-ucm", 3.0)])
def test_embedded_models_say_what_their_cards_say(name, guidance):
    assert find(name).guidance == guidance
