"""A pipeline's folder is loaded whole, whatever names its files have, or it is refused with what is wrong with it."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from terrasynth.synthesis import load_generator
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.generators.components import variant_of
from tests.tiny_checker import NONE, tiny_checked
from tests.tiny_sd import tiny_sd

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return tiny_sd(tmp_path_factory.mktemp("plain") / "plain")


@pytest.fixture
def copy(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "model")


def load(folder):
    return load_generator(str(folder), steps=1, device="cpu", dtype="float32")


def draw(folder):
    return load(folder).generate(["a beach"], [1])


def change(folder, part, edit):
    file = folder / part / f"{WEIGHTS[part]}.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, str(file), {"format": "pt"})


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_layer_without_weights_is_refused_by_name(copy, part):
    change(copy, part, lambda tensors: tensors.pop(max(tensors)))
    with pytest.raises(InputError, match=rf"the weights of its {part} lack '.*', which would get random numbers"):
        load(copy)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_weights_that_no_layer_takes_are_refused_by_name(copy, part):
    change(copy, part, lambda tensors: tensors.update({"more.weight": torch.ones(2)}))
    with pytest.raises(InputError, match=rf"the weights of its {part} hold 'more.weight', which no layer takes"):
        load(copy)


def test_a_text_encoder_is_read_out_of_a_larger_network(copy, plain):
    change(copy, "text_encoder", lambda tensors: tensors.update({"vision_model.weight": torch.ones(2)}))
    assert np.array_equal(draw(copy), draw(plain))


class TestVariants:
    def test_weights_of_one_variant_alone_are_loaded(self, plain, tmp_path):
        StableDiffusionPipeline.from_pretrained(plain).save_pretrained(tmp_path / "fp16", variant="fp16")
        assert np.array_equal(draw(tmp_path / "fp16"), draw(plain))

    def test_each_component_has_its_own(self, copy, plain):
        name = copy / "unet" / f"{WEIGHTS['unet']}.safetensors"
        name.rename(name.with_suffix(".fp16.safetensors"))
        shutil.copy(copy / "vae" / f"{WEIGHTS['vae']}.safetensors", copy / "vae" / f"{WEIGHTS['vae']}.fp16.safetensors")
        change(copy, "vae", lambda tensors: tensors.update({
            key: torch.zeros_like(value) for key, value in tensors.items() if key == "decoder.conv_out.weight"}))
        changed = draw(copy)
        assert changed.shape == draw(plain).shape
        assert not np.array_equal(changed, draw(plain))  # the full weights were read, not those of the variant

    @pytest.mark.parametrize(("names", "variant"), [
        (["config.json", "model.safetensors", "model.fp16.safetensors"], None),
        (["model.fp16.safetensors"], "fp16"),
        (["diffusion_pytorch_model.bf16.safetensors", "diffusion_pytorch_model.fp16.safetensors"], "bf16"),
        (["model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json"], "fp16"),
        (["model-00001-of-00002.safetensors", "model.safetensors.index.json"], None),
        (["model.non_ema.safetensors"], "non_ema"),
        (["config.json"], None),
    ])
    def test_names_of_files_tell_it(self, names, variant):
        assert variant_of(names, "unet") == variant

    def test_two_of_which_none_is_a_precision_are_refused(self):
        with pytest.raises(InputError, match="variants ema, non_ema, and none without"):
            variant_of(["model.ema.safetensors", "model.non_ema.safetensors"], "unet")


def test_a_safety_checker_that_was_left_out_is_named_and_done_without(tmp_path, caplog):
    model = tiny_checked(tmp_path / "model", NONE)
    whole = draw(model)
    shutil.rmtree(model / "safety_checker")
    assert np.array_equal(draw(model), whole)
    assert "comes without the safety_checker that its index names" in caplog.text


def test_a_component_of_another_library_is_not_imported(copy):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"unet": ["antigravity", "Network"]}))
    with pytest.raises(InputError, match="takes unet from 'antigravity', which is neither diffusers nor transformers"):
        load(copy)


@pytest.mark.parametrize(("name", "content"), [
    ("unet/config.json", "[]"),
    ("unet/config.json", '{"_class_name": "UNet2DConditionModel", "block_out_channels": "wide"}'),
    ("scheduler/scheduler_config.json", '{"_class_name": "DDIMScheduler", "beta_schedule": 7}'),
    ("tokenizer/tokenizer.json", "{}"),
    ("vae/diffusion_pytorch_model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
    ("model_index.json", '{"_class_name": "StableDiffusionPipeline"}'),
    ("model_index.json", '{"_class_name": 5}'),
])
def test_a_file_with_other_content_is_one_line(copy, name, content):
    (copy / name).write_text(content)
    with pytest.raises(InputError, match=r"model '.*model'") as refused:
        load(copy)
    assert "\n" not in str(refused.value)
