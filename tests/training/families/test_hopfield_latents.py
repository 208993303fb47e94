"""The Hopfield generator on tokens of latents, from the preset to pictures."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, VQModel

from terrasynth.synthesis import load_generator
from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits, to_float
from terrasynth.training.errors import InputError
from terrasynth.training.families.hopfield import HopfieldSettings, HopfieldTask
from terrasynth.training.running.saving import save_model
from terrasynth.training.train import run_preset
from tests.tiny import tiny_scene
from tests.tiny_mhn import tiny_latent_vq, tiny_vae, tiny_vq

CPU = torch.device("cpu")
TINY = {"size": 32, "crops": 0, "width": 16, "blocks": 1, "heads": 2, "head_width": 8, "prototypes": 12,
        "vocabulary": 600, "tokens": 12, "val_pictures": 2, "key_value_heads": None}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("hopfield-latents")
    save_model(tiny_latent_vq(), root / "vqvae")
    save_model(tiny_vae(3), root / "vae")
    save_model(tiny_vq(), root / "pixels")
    tiny_scene(root / "scene", ("beach", "forest", "river"))
    return root


def build(real, places, cache=None, tokenizer="vqvae", autoencoder="vae", **changes):
    torch.manual_seed(0)
    return HopfieldTask(load_splits(read_pairs(real), 32), HopfieldSettings(**TINY | changes), CPU,
                        places / tokenizer, places / "scene", cache, autoencoder and places / autoencoder)


def test_the_tokens_are_those_of_the_latents(real, places):
    task = build(real, places)
    vae = AutoencoderTiny.from_pretrained(places / "vae")
    vqvae = VQModel.from_pretrained(places / "vqvae")
    pixels = to_float(task.splits["train"].pixels[:3])
    with torch.no_grad():
        _, _, (_, _, tokens) = vqvae.quantize(vqvae.encode(vae.encode(pixels).latents).latents)
    assert task.codes.shape == (48, 8, 16)
    assert torch.equal(task.codes[:3, 0].flatten().long(), tokens.flatten())
    assert (task.transformer.config.side, task.transformer.config.patch) == (4, 8)


def test_tokens_of_another_autoencoder_are_made_anew(real, places, tmp_path):
    first = build(real, places, tmp_path / "tokens.safetensors")
    save_model(tiny_vae(4), tmp_path / "vae")
    again = build(real, places, tmp_path / "tokens.safetensors", autoencoder=tmp_path / "vae")
    assert not torch.equal(first.codes, again.codes)


@pytest.mark.parametrize(("tokenizer", "autoencoder", "said"), [
    ("vqvae", None, r"needs\.tokenizer reads 4 channels, and images have 3"),
    ("pixels", "vae", r"needs\.tokenizer reads 3 channels, and the latents of needs\.autoencoder have 4"),
])
def test_a_tokenizer_of_something_else_is_named(real, places, tokenizer, autoencoder, said):
    with pytest.raises(InputError, match=said):
        build(real, places, tokenizer=tokenizer, autoencoder=autoencoder)


def test_a_size_that_tokens_do_not_fill_is_named(real, places):
    with pytest.raises(InputError, match=r"model\.size 36 is no multiple of the 8 pixels of a token"):
        build(real, places, size=36)


def test_the_preset_trains_and_its_model_draws_through_both(real, places, tmp_path):
    needs = {f"needs.{role}": str(places / folder)
             for role, folder in (("tokenizer", "vqvae"), ("autoencoder", "vae"), ("classifier", "scene"))}
    loop = {"max_steps": 2, "batch_size": 4, "warmup_steps": 0, "validate_every": 2, "preview_every": 2,
            "checkpoint_every": 2, "mixed_precision": "no"}
    overrides = {"load_size": 32} | needs | {f"model.{key}": value for key, value in TINY.items()}
    run_preset("mhn-rs", real, tmp_path, overrides=overrides | {f"loop.{key}": value for key, value in loop.items()})
    pipeline = Txt2ImgMHNPipeline.from_pretrained(tmp_path)
    own = AutoencoderTiny.from_pretrained(places / "vae").state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in pipeline.vae.state_dict().items())
    assert str(places) not in (tmp_path / "vae" / "config.json").read_text()
    assert json.loads((tmp_path / "knowledge.json").read_text())["classes"]
    drawn = load_generator(str(tmp_path), device="cpu").generate(["A beach with sand ."], [0])
    assert (drawn.shape, drawn.dtype) == ((1, 32, 32, 3), np.uint8)
