"""The Hopfield prototype generator through the doors that every generator has: loading, runs, the command line."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from terrasynth.synthesis import Recipe, load_generator, run
from terrasynth.synthesis.cli import cli
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
from tests.synthesis.helpers import find, fingerprint, rows

TEXTS = ["a river and a bridge", "sparse forest", "sea water on the beach", "a plane"]
SEEDS = [1, 2, 3, 2**63 - 1]


def test_pictures_are_those_of_the_pipeline_itself(models):
    generator = load_generator(str(models.token_generator), device="cpu", dtype="float32")
    pipeline = Txt2ImgMHNPipeline.from_pretrained(models.token_generator)
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    drawn = pipeline(TEXTS, guidance_scale=3.0, generator=noise, output_type="pil").images
    pictures = generator.generate(TEXTS, SEEDS)
    assert pictures.shape == (4, *generator.size, 3) == (4, 32, 32, 3)
    assert np.array_equal(pictures, np.stack([np.asarray(picture) for picture in drawn]))


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_micro_batch_does_not_change_the_tokens(models, micro_batch):
    whole = load_generator(str(models.token_generator), device="cpu", dtype="float32").generate(TEXTS, SEEDS)
    parts = load_generator(str(models.token_generator), device="cpu", dtype="float32", micro_batch=micro_batch)
    assert np.abs(parts.generate(TEXTS, SEEDS).astype(int) - whole).max() <= 1


def test_steps_are_the_tokens_of_a_picture(models):
    found = find(str(models.token_generator), steps=20)
    assert found.draws_tokens
    assert found.identity()["steps"] == 16  # 4 x 4 tokens of 8 pixels
    assert found.identity() == find(str(models.token_generator), steps=50).identity()


def test_options_reach_the_pipeline_and_the_identity(models):
    plain = load_generator(str(models.token_generator), device="cpu", dtype="float32")
    greedy = load_generator(str(models.token_generator), device="cpu", dtype="float32", options={"top_k": 1})
    assert greedy.identity() == plain.identity() | {"options": {"top_k": 1}}
    same = greedy.generate([TEXTS[0]] * 2, [1, 2])
    assert np.array_equal(same[0], same[1])  # the likeliest token, whatever the noise
    differs = plain.generate([TEXTS[0]] * 2, [1, 2])
    assert not np.array_equal(differs[0], differs[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"options": {"top_kk": 3}}, r"generator\.options\.top_kk is no option of a Txt2ImgMHNPipeline.*top_k"),
        ({"options": {"top_p": 0.0}}, r"generator\.options: .*top_p=0\.0 in \(0, 1\]"),
        ({"options": {"temperature": -1.0}}, r"generator\.options: temperature=-1\.0 has to be from 0\.01 to 100"),
        ({"options": {"top_k": "many"}}, r"generator\.options: .*top_k=many a whole number"),
        ({"options": {"top_k": 1.5}}, r"generator\.options: .*top_k=1\.5 a whole number"),
        ({"options": {"temperature": "hot"}}, r"generator\.options: "),
        ({"options": {"generator": 1}}, r"generator\.options\.generator is no option"),
        ({"scheduler": "DDIMScheduler"}, r"draws tokens: it has no scheduler and one image size"),
        ({"height": 64}, r"draws tokens: it has no scheduler and one image size"),
    ],
)
def test_wrong_settings_are_refused_by_name(models, settings, message):
    with pytest.raises(InputError, match=message):
        load_generator(str(models.token_generator), device="cpu", dtype="float32", **settings)


def test_options_of_a_diffusion_model_are_checked_too(models):
    settings = {"steps": 2, "device": "cpu", "dtype": "float32"}
    plain = load_generator(str(models.generator), **settings).generate(TEXTS[:1], [3])
    other = load_generator(str(models.generator), options={"guidance_rescale": 0.9}, **settings)
    assert not np.array_equal(other.generate(TEXTS[:1], [3]), plain)
    with pytest.raises(InputError, match=r"options\.negativ_prompt is no option of a StableDiffusionPipeline"):
        load_generator(str(models.generator), options={"negativ_prompt": "x"}, **settings)


def test_a_value_that_a_diffusion_model_refuses_is_wrong_input(models):
    settings = {"steps": 2, "device": "cpu", "dtype": "float32"}
    with pytest.raises(InputError, match=r"does not draw .* with generator\.options \{'clip_skip': 'two'\}"):
        load_generator(str(models.generator), options={"clip_skip": "two"}, **settings)


def test_options_on_the_command_line(models, tmp_path):
    arguments = ["generate", TEXTS[0], "--model", str(models.token_generator), "--device", "cpu", "--option"]
    done = CliRunner().invoke(cli, [*arguments, "top_k=7", "--out", str(tmp_path / "a")])
    assert done.exit_code == 0, done.stderr
    row = json.loads((tmp_path / "a" / "metadata.jsonl").read_text())
    assert (row["options"], row["steps"]) == ({"top_k": 7}, 16)


@pytest.mark.parametrize("kind", ["token_generator", "generator"])
def test_a_model_in_the_cache_of_the_hub_is_found_by_its_id(models, tmp_path, monkeypatch, kind):
    """What a download leaves, laid out by hand: no network is there in tests."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--someone--tiny"
    shutil.copytree(getattr(models, kind), cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = load_generator("someone/tiny", steps=2, device="cpu", dtype="float32")
    local = load_generator(str(getattr(models, kind)), steps=2, device="cpu", dtype="float32")
    assert (found.source.name, found.source.revision) == ("someone/tiny", commit)
    assert np.array_equal(found.generate(["sparse forest"], [3]), local.generate(["sparse forest"], [3]))


@pytest.mark.parametrize(
    ("content", "message"), [("{", "cannot be read"), ("[]", "is no JSON object"), ("{}", "'side'")]
)
def test_damaged_configuration_is_named(models, tmp_path, content, message):
    (tmp_path / "transformer").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "Txt2ImgMHNPipeline"}))
    (tmp_path / "transformer" / "config.json").write_text(content)
    with pytest.raises(InputError, match=message):
        find(str(tmp_path))


def test_a_run_is_traced_and_comes_out_the_same_again(models, tree, tmp_path):
    tree["generator"] = {"model": str(models.token_generator), "guidance": 2.0, "options": {"top_k": 50}}
    recipe = Recipe.parse(tree)
    first, second = tmp_path / "a", tmp_path / "b"
    for root in (first, second):
        run(recipe, root)
    assert fingerprint(first / "data") == fingerprint(second / "data")
    drawn = rows(first)
    assert {row["steps"] for row in drawn} == {16}
    assert {row["guidance"] for row in drawn} == {2.0}
    generator = load_generator(
        str(models.token_generator), guidance=2.0, device="cpu", dtype="float32", options={"top_k": 50}
    )
    from terrasynth.synthesis.core.images import decode

    again = generator.generate([drawn[0]["text"]], [drawn[0]["seed"]])[0]
    assert np.abs(again.astype(int) - decode(drawn[0]["image"]["bytes"])).max() <= 1
