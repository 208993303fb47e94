"""Real images, coded and decoded by the autoencoder of the generator that drew a run."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, VQModel

from terrasynth.eval.evaluation.figures import NotMeasured
from terrasynth.eval.models.references import content_hash
from terrasynth.synthesis import Recipe, run
from terrasynth.synthesis.core.identity import Identity, digest
from terrasynth.synthesis.generators.autoencoders import find_autoencoder
from terrasynth.synthesis.ledger.frozen import frozen_of
from terrasynth.synthesis.studies.coded_images import coded_images
from tests.tiny import tiny_pictures
from tests.tiny_sd import tiny_autoencoder

REAL = tiny_pictures(6, size=32)


@pytest.fixture
def made(tree, models, tmp_path):
    """A run, and the folder of the generator that drew it, which may be changed."""

    def make(generator, **more):
        folder = shutil.copytree(generator, tmp_path / "own")
        tree["generator"] = {"model": str(folder), "steps": 1, **more}
        tree["filters"], tree["target"] = [], {"per_class": 1, "max_attempts": 1}
        run(Recipe.parse(tree), tmp_path / "run")
        return tmp_path / "run", folder

    return make


def test_they_are_what_diffusers_gives(made, models):
    folder, generator = made(models.generator)
    found = coded_images(folder, REAL)
    vae = AutoencoderKL.from_pretrained(generator / "vae").eval()
    with torch.no_grad():
        pixels = torch.from_numpy(REAL).permute(0, 3, 1, 2) / 127.5 - 1
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
    expected = ((decoded.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(found.images - expected).max() < 0.51
    assert found.network["model"] == "own (vae)"
    revision = json.loads((folder / "identity.json").read_text())["parts"]["generator"]["revision"]
    assert found.network["content"] == revision


def test_the_tokens_of_a_generator_that_draws_tokens_count(made, models):
    folder, generator = made(models.token_generator)
    network = VQModel.from_pretrained(generator / "vqvae").eval()
    images = tiny_pictures(5, size=32)
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
        expected = ((network(pixels).sample.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(coded_images(folder, images).images - expected).max() < 0.51


def test_a_generator_that_is_another_by_now_is_not_asked(made, models):
    folder, generator = made(models.generator)
    (generator / "unet" / "further.json").write_text("{}")
    found = coded_images(folder, REAL)
    assert isinstance(found, NotMeasured)
    assert "the files of the generator 'own' have changed" in found.reason
    shutil.rmtree(generator)
    assert coded_images(folder, REAL).reason == "the generator 'own' is not on this machine"


def test_a_generator_on_the_hub_is_not_fetched(made, models, monkeypatch):
    folder, _ = made(models.generator)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(folder.parent / "own"), "user/name"))
    assert "is not in the cache of this machine" in coded_images(folder, REAL).reason


def test_a_size_that_the_autoencoder_does_not_give_back_has_a_reason(made, models):
    folder, _ = made(models.generator)
    found = coded_images(folder, tiny_pictures(2, size=33))
    assert isinstance(found, NotMeasured)
    assert "px for those of 33 x 33 px" in found.reason


def test_of_a_folder_that_is_no_run_nothing_is_said(tmp_path):
    assert coded_images(tmp_path, REAL) is None


def test_damaged_weights_are_a_reason_without_a_path(made, models):
    folder, generator = made(models.generator)
    weights = generator / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    frozen = frozen_of(folder)
    parts = frozen.identity.parts | {"generator": frozen.identity.parts["generator"] |
                                     {"revision": content_hash(generator)}}
    replace(frozen, identity=Identity(parts, digest(parts))).save(folder)
    found = coded_images(folder, REAL)
    assert isinstance(found, NotMeasured)
    assert "cannot be used (" in found.reason
    assert str(generator.parent) not in found.reason


def test_the_autoencoder_of_the_recipe_codes_them_and_is_named(made, models, tmp_path):
    small = tiny_autoencoder(tmp_path / "small")
    folder, generator = made(models.generator, vae=str(small))
    found = coded_images(folder, REAL)
    vae = AutoencoderTiny.from_pretrained(small).eval()
    with torch.no_grad():
        pixels = torch.from_numpy(REAL).permute(0, 3, 1, 2) / 127.5 - 1
        decoded = vae.decode(vae.encode(pixels).latents).sample
    expected = ((decoded.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(found.images - expected).max() < 0.51
    assert found.network == {"model": "small (generator.vae)", "content": find_autoencoder(str(small)).revision}
    shutil.rmtree(generator)  # which coded nothing
    assert not isinstance(coded_images(folder, REAL), NotMeasured)
    tiny_autoencoder(small, seed=1)
    changed = coded_images(folder, REAL)
    assert changed.reason == "the files of the autoencoder 'small' have changed since it drew the run"
    shutil.rmtree(small)
    assert coded_images(folder, REAL).reason == "the autoencoder 'small' is not on this machine"
