"""Which sizes, options and texts a model takes: known when it is loaded, before a run has begun."""

import json
import logging
import shutil

import pytest
from diffusers import StableDiffusionPipeline

from terrasynth.synthesis import load_generator
from terrasynth.synthesis.core.errors import InputError
from tests.tiny_sd import TEXT_LENGTH, tiny_sd


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return tiny_sd(tmp_path_factory.mktemp("plain") / "plain")


@pytest.fixture
def copy(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "model")


def load(folder, **settings):
    return load_generator(str(folder), steps=1, device="cpu", dtype="float32", **settings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["generator.height=33", "generator.width=33"], "does not draw images of 33 x 33 px: "),
        (["generator.options={guidance_rescale: high}"], "with generator.options {'guidance_rescale': 'high'}: "),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_what_a_model_does_not_take_is_refused_before_a_run(terrasynth, recipe_file, tmp_path, command, changes, said):
    options = [part for each in changes for part in ("--set", each)]
    code, _, lines = terrasynth(command, recipe_file, "--out", tmp_path / "run", *options)
    assert (code, len(lines)) == (2, 1)
    assert said in lines[0]
    assert not (tmp_path / "run").exists()


def test_generate_says_so_too(terrasynth, plain, tmp_path):
    code, _, lines = terrasynth("generate", "a beach", "--model", plain, "--option", "guidance_rescale=high",
                                "--steps", 1, "--out", tmp_path / "pictures")
    assert (code, len(lines)) == (2, 1)
    assert "with generator.options {'guidance_rescale': 'high'}: " in lines[0]
    assert not (tmp_path / "pictures").exists()


def test_a_size_that_a_pipeline_rounds_is_refused_with_what_it_draws(plain, monkeypatch):
    """The autoencoder of this one halves sides, and here its pipeline does not ask, as some do not."""
    monkeypatch.setattr(StableDiffusionPipeline, "check_inputs", lambda *arguments, **settings: None)
    with pytest.raises(InputError, match="of 33 x 32 px: it draws 32 x 32 px instead; set these, or other sizes"):
        load(plain, width=33)


def test_another_size_that_it_draws_is_drawn(plain):
    assert load(plain, height=40, width=24).generate(["a beach"], [1]).shape == (1, 40, 24, 3)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_target_beyond_the_attempts_is_refused(terrasynth, recipe_file, tmp_path, command):
    code, _, lines = terrasynth(command, recipe_file, "--out", tmp_path / "run", "--set", "target.per_class=25")
    assert (code, len(lines)) == (2, 1)
    assert "target.max_attempts 24 is below target.per_class 25, so that no class could reach its target" in lines[0]
    assert not (tmp_path / "run").exists()


def tokenizer(folder, **settings):
    file = folder / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def test_a_tokenizer_that_names_no_limit_has_that_of_its_network(copy, plain):
    tokenizer(copy, model_max_length=10**30)
    found = load(copy)
    assert found.token_limit == TEXT_LENGTH
    assert (found.generate(["a beach"], [1]) == load(plain).generate(["a beach"], [1])).all()


@pytest.mark.parametrize("length", ["many", 0, -1, True])
def test_a_limit_that_is_no_number_is_refused(copy, length):
    tokenizer(copy, model_max_length=length)
    with pytest.raises(InputError, match=r"no number of tokens|cannot be loaded"):
        load(copy)


def test_the_tokenizer_of_another_network_is_refused(copy):
    """Without its files, transformers makes one that knows a mark or two, and every text is the same."""
    for file in (copy / "tokenizer").iterdir():
        if file.name != "tokenizer_config.json":
            file.unlink()
    with pytest.raises(InputError, match=r"tokens for a text encoder of|cannot be loaded"):
        load(copy)


def test_parts_of_a_text_that_are_read_as_unknown_are_named_once(copy, caplog):
    file = copy / "tokenizer" / "tokenizer.json"
    content = json.loads(file.read_text())
    del content["model"]["vocab"]["\u00e6"]  # the byte that begins this sign
    file.write_text(json.dumps(content))
    generator = load(copy)
    with caplog.at_level(logging.WARNING):
        generator.generate(["a beach"], [1])
        assert not [each for each in caplog.records if "does not know" in each.message]
        generator.generate(["a beach \u6d77", "\u6d77"], [1, 2])
        generator.generate(["\u6d77"], [3])
    told = [each.message for each in caplog.records if "does not know" in each.message]
    assert len(told) == 1
    assert "does not know '\u6d77', and draws 'a beach \u6d77' without it" in told[0]
