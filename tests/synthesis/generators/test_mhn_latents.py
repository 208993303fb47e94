"""A generator whose tokens stand for latents: through the tokenizer's decoder, then through an autoencoder's."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, VQModel

from terrasynth.synthesis import Recipe, load_generator, run
from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
from terrasynth.synthesis.studies.coded_images import coded_images
from terrasynth.synthesis.studies.prototypes.report import decode
from tests.synthesis.helpers import rows
from tests.tiny import TEXTS, tiny_pictures
from tests.tiny_mhn import CODES, PATCH, save_tiny_mhn, tiny_mhn, tiny_vae

SEEDS = [3, 11]


@pytest.fixture(scope="module", params=[False, True], ids=["tiny", "kl"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mhn")
    return save_tiny_mhn(folder, vae=tiny_vae(5, request.param), text_length=77)


def parts(folder):
    kind = json.loads((folder / "vae" / "config.json").read_text())["_class_name"]
    vae = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}[kind].from_pretrained(folder / "vae")
    return VQModel.from_pretrained(folder / "vqvae").eval(), vae.eval()


def test_it_decodes_tokens_as_the_libraries_networks_do(folder):
    pipeline = Txt2ImgMHNPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    assert (pipeline.size, pipeline.vae_scale_factor) == ((32, 32), PATCH)
    tokens = torch.randint(CODES, (5, 4, 4), generator=torch.Generator().manual_seed(0))
    vqvae, vae = parts(folder)
    with torch.no_grad():
        latents = vqvae.decoder(vqvae.post_quant_conv(vqvae.quantize.embedding.weight[tokens].permute(0, 3, 1, 2)))
        if isinstance(vae, AutoencoderKL):
            latents = latents / 0.5 + 0.25
        expected = vae.decode(latents).sample
        torch.testing.assert_close(pipeline.decode_tokens(tokens), expected)
    shown = decode(pipeline, tokens)
    assert np.abs(shown - ((expected / 2 + 0.5).clamp(0, 1) * 255).permute(0, 2, 3, 1).numpy()).max() < 0.51


def test_it_is_saved_with_its_autoencoder_and_draws_the_same_again(folder, tmp_path):
    def draw(pipeline):
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(TEXTS[:2], generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
                        output_type="np").images

    pipeline = Txt2ImgMHNPipeline.from_pretrained(folder)
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["vae"] == ["diffusers", type(pipeline.vae).__name__]
    np.testing.assert_array_equal(draw(Txt2ImgMHNPipeline.from_pretrained(tmp_path)), draw(pipeline))


def test_a_pipeline_of_an_earlier_version_whose_index_names_no_autoencoder_is_read(tmp_path):
    save_tiny_mhn(tmp_path)
    path = tmp_path / "model_index.json"
    index = json.loads(path.read_text())
    index.pop("vae")
    path.write_text(json.dumps(index))
    assert Txt2ImgMHNPipeline.from_pretrained(tmp_path).vae is None
    drawn = load_generator(str(tmp_path), device="cpu", dtype="float32").generate([TEXTS[0]], [1])
    pipeline = tiny_mhn()
    expected = pipeline(TEXTS[0], generator=[torch.Generator().manual_seed(1)], output_type="np").images
    assert np.abs(drawn - expected * 255).max() < 1.01


def test_a_run_is_drawn_and_its_coded_images_pass_both(folder, tree, tmp_path):
    tree["generator"] = {"model": str(folder)}
    tree["filters"], tree["target"] = [], {"per_class": 1, "max_attempts": 1}
    run(Recipe.parse(tree), tmp_path / "run")
    assert len(rows(tmp_path / "run")) == 3
    images = tiny_pictures(5, size=32)
    found = coded_images(tmp_path / "run", images)
    vqvae, vae = parts(folder)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        if isinstance(vae, AutoencoderKL):
            latents = vqvae((vae.encode(pixels).latent_dist.mode() - 0.25) * 0.5).sample / 0.5 + 0.25
        else:
            latents = vqvae(vae.encode(pixels).latents).sample
        expected = ((vae.decode(latents).sample.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(found.images - expected).max() < 0.51
    assert found.network["model"].endswith("(vae and vqvae)")
