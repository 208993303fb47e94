"""Another autoencoder in a generator: real ones of diffusers, compared with plain diffusers."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL, AutoencoderTiny, ConsistencyDecoderVAE, DiffusionPipeline, UNet2DModel
from huggingface_hub import constants

from terrasynth.synthesis import Recipe, load_generator, run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.generators.autoencoders import find_autoencoder
from terrasynth.synthesis.generators.finding import open_generator
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.hub.run_folder import local_folders
from terrasynth.synthesis.recipe import RuntimeSettings
from tests.synthesis.generators.test_generators_lora import save_lora
from tests.synthesis.helpers import find, rows
from tests.tiny_pipelines import PIPELINES
from tests.tiny_sd import tiny_autoencoder

TEXTS = ["a river and a bridge", "sparse forest"]
SEEDS = [1, 2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {name: make(root / name) for name, make in PIPELINES.items()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return tiny_autoencoder(tmp_path_factory.mktemp("vae") / "small")


def load(base, **settings):
    return load_generator(str(base), **{"steps": 2, "device": "cpu", "dtype": "float32"} | settings)


def plain(base, network):
    """What diffusers alone draws with the autoencoder."""
    pipeline = DiffusionPipeline.from_pretrained(base)
    pipeline.vae = network
    more = {"use_resolution_binning": False} if base.name == "pixart" else {}
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    drawn = pipeline(TEXTS, num_inference_steps=2, guidance_scale=3.0, generator=noise, output_type="pil", **more)
    return np.stack([np.asarray(each) for each in drawn.images])


def close(one, other):
    return np.abs(one.astype(int) - other).max() <= 1


def kl(folder, seed=7, **settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AutoencoderKL(
            block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, **settings)
    network.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", PIPELINES)
def test_a_copy_of_the_own_autoencoder_gives_the_same_bytes(bases, kind, tmp_path):
    copied = shutil.copytree(bases[kind] / "vae", tmp_path / "copy")
    assert np.array_equal(load(bases[kind], vae=str(copied)).generate(TEXTS, SEEDS),
                          load(bases[kind]).generate(TEXTS, SEEDS))


@pytest.mark.parametrize("kind", PIPELINES)
def test_a_small_autoencoder_decodes_as_in_plain_diffusers(bases, small, kind):
    drawn = load(bases[kind], vae=str(small)).generate(TEXTS, SEEDS)
    assert close(drawn, plain(bases[kind], AutoencoderTiny.from_pretrained(small)))
    assert not close(drawn, load(bases[kind]).generate(TEXTS, SEEDS))


@pytest.mark.parametrize("factor", [0.25, 1.0])
def test_latents_are_scaled_for_the_autoencoder_that_decodes_them(bases, tmp_path, factor):
    other = kl(tmp_path / "kl", scaling_factor=factor, force_upcast=False)
    drawn = load(bases["sd"], vae=str(other)).generate(TEXTS, SEEDS)
    assert close(drawn, plain(bases["sd"], AutoencoderKL.from_pretrained(other)))


def test_float16_weights_are_read_in_the_precision_that_draws(bases, small, tmp_path):
    half = tmp_path / "half"
    AutoencoderTiny.from_pretrained(small).half().save_pretrained(half, variant="fp16")
    drawn = load(bases["sd"], vae=str(half)).generate(TEXTS, SEEDS)
    assert close(drawn, plain(bases["sd"], AutoencoderTiny.from_pretrained(half, variant="fp16").float()))
    emulated = load(bases["sd"], vae=str(half), dtype="bfloat16").generate(TEXTS, SEEDS)
    assert emulated.shape == drawn.shape


def test_portions_and_slices_move_no_pixel(bases, small):
    whole = load(bases["sd"], vae=str(small), micro_batch=2).generate(TEXTS, SEEDS)
    assert np.array_equal(whole, load(bases["sd"], vae=str(small), micro_batch=1).generate(TEXTS, SEEDS))
    source = find(str(bases["sd"]), steps=2, vae=str(small))
    settings = RuntimeSettings.model_validate({"device": "cpu", "dtype": "float32", "exact": False, "micro_batch": 2})
    sliced = open_generator(source, Runtime.resolve(settings, None, False, 8).with_portions(2, True))
    assert sliced.pipeline.vae.use_slicing
    assert close(sliced.generate(TEXTS, SEEDS), whole)


def test_a_lora_and_an_autoencoder_go_together(bases, small, tmp_path):
    lora = save_lora(bases["sd"], tmp_path / "nir")
    both = load(bases["sd"], lora=str(lora), vae=str(small))
    drawn = both.generate(TEXTS, SEEDS)
    assert both.source.name == "sd+nir+vae:small"
    for settings in ({"lora": str(lora)}, {"vae": str(small)}):
        assert not close(drawn, load(bases["sd"], **settings).generate(TEXTS, SEEDS))


def test_the_identity_holds_the_content_and_nothing_else(bases, small, tmp_path):
    own, once = find(str(bases["sd"])), find(str(bases["sd"]), vae=str(small))
    content = find_autoencoder(str(small)).revision
    assert (once.name, once.revision) == ("sd+vae:small", f"{own.revision}+vae:{content}")
    elsewhere = shutil.copytree(small, tmp_path / "elsewhere")
    (elsewhere / "README.md").write_text("A card.\n")
    (elsewhere / "training.json").write_text("{}")
    (elsewhere / "cache").mkdir()
    (elsewhere / "cache" / "targets.safetensors").write_bytes(b"not read")
    assert find(str(bases["sd"]), vae=str(elsewhere)).identity() == once.identity()
    tiny_autoencoder(elsewhere, seed=1)
    assert find_autoencoder(str(elsewhere)).revision != content


def test_parts_of_models_are_named_by_both(bases, monkeypatch):
    monkeypatch.setenv("HOME", str(bases["sd"].parent))
    assert find_autoencoder("ldm-ucm/vae").name == "ldm-ucm/vae"
    assert find_autoencoder("~/sd/vae").name == "sd/vae"


def test_one_on_the_hub_is_found_in_the_cache_and_named_by_its_id(bases, small, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / "models--owner--small"
    shutil.copytree(small, place / "snapshots" / COMMIT)
    (place / "snapshots" / COMMIT / "small_decoder.safetensors").write_bytes(b"not read")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for reference in ("owner/small", f"owner/small@{COMMIT}"):
        found = find_autoencoder(reference)
        assert (found.name, found.revision) == ("owner/small", find_autoencoder(str(small)).revision)
    assert load(bases["sd"], vae="owner/small").source.name == "sd+vae:owner/small"
    with pytest.raises(InputError, match="autoencoder 'owner/none' is not a folder, and cannot be fetched"):
        find_autoencoder("owner/none")


def pickled(folder):
    AutoencoderTiny.from_pretrained(tiny_autoencoder(folder)).save_pretrained(folder, safe_serialization=False)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    return folder


def changed(folder, **settings):
    path = tiny_autoencoder(folder) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def without(folder, name):
    (tiny_autoencoder(folder) / name).unlink()
    return folder


def torn(folder):
    path = tiny_autoencoder(folder) / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    return folder


def not_finite(folder):
    network = AutoencoderTiny.from_pretrained(tiny_autoencoder(folder))
    torch.nn.init.constant_(network.decoder.layers[-1].weight, float("nan"))
    network.save_pretrained(folder)
    return folder


def unet(folder):
    UNet2DModel(sample_size=8, block_out_channels=(4, 4), norm_num_groups=2, down_block_types=("DownBlock2D",) * 2,
                up_block_types=("UpBlock2D",) * 2, layers_per_block=1).save_pretrained(folder)
    return folder


def begun(folder):
    (folder / "checkpoint").mkdir(parents=True)
    return folder


@pytest.mark.parametrize(("make", "said"), [
    (lambda folder: tiny_autoencoder(folder, latent_channels=8), "decodes latents of 8 channels, .* of 4"),
    (lambda folder: tiny_autoencoder(folder, blocks=3), "of 16 x 16 px with autoencoder 'other': it draws 32 x 32 px"),
    (lambda folder: tiny_autoencoder(folder, out_channels=1), "gives images of 1 channels"),
    (lambda folder: kl(folder, shift_factor=0.1), "has a shift_factor .* a StableDiffusionPipeline does not apply"),
    (lambda folder: kl(folder, latents_mean=[0.1] * 4, latents_std=[1.0] * 4), "has a latents_mean"),
    (unet, "is 'UNet2DModel', which is no autoencoder"),
    (lambda folder: changed(folder, _class_name="VaeImageProcessor"), "which is no autoencoder"),
    (lambda folder: changed(folder, _class_name=5), "is of no class, which is no autoencoder"),
    (lambda folder: changed(folder, act_fn="none of these"), "autoencoder 'other' cannot be loaded: .*none of these"),
    (lambda folder: changed(folder, num_decoder_blocks=[1, 2]), "the weights of its network lack 'decoder"),
    (lambda folder: without(folder, "config.json"), "has no config.json, so it is no autoencoder"),
    (lambda folder: without(folder, "diffusion_pytorch_model.safetensors"), "no diffusion_pytorch_model.safetensors"),
    (pickled, "its weights are pickled .diffusion_pytorch_model.bin."),
    (torn, "autoencoder 'other' cannot be loaded"),
    (not_finite, "it gives numbers that are not finite"),
    (lambda folder: PIPELINES["sd"](folder), "is a whole pipeline .* give its folder vae"),
    (lambda folder: folder, "other' is no folder here, and .* is: is its training finished?"),
    (begun, "its training has not finished; run the same `terrasynth train` again"),
    (lambda folder: "nowhere", "autoencoder 'nowhere' is no autoencoder of diffusers"),
    (lambda folder: str(torn(folder) / "diffusion_pytorch_model.safetensors"), "is no autoencoder of diffusers; give"),
])
def test_what_does_not_fit_is_refused_in_a_line(bases, tmp_path, make, said):
    with pytest.raises(InputError, match=said) as caught:
        load(bases["sd"], vae=str(make(tmp_path / "other")))
    assert "\n" not in str(caught.value)


def test_moves_of_latents_are_for_pipelines_that_apply_them(bases, tmp_path):
    other = kl(tmp_path / "kl", latents_mean=[0.5] * 4, latents_std=[2.0] * 4, force_upcast=False)
    drawn = load(bases["sdxl"], vae=str(other)).generate(TEXTS, SEEDS)
    assert close(drawn, plain(bases["sdxl"], AutoencoderKL.from_pretrained(other)))


def test_a_decoder_that_draws_noise_has_to_be_told_the_seed(bases, tmp_path):
    ConsistencyDecoderVAE(
        encoder_block_out_channels=(8, 8), encoder_down_block_types=("DownEncoderBlock2D",) * 2,
        encoder_layers_per_block=1, encoder_norm_num_groups=4, latent_channels=4, decoder_in_channels=7,
        decoder_block_out_channels=(32, 32), decoder_down_block_types=("ResnetDownsampleBlock2D",) * 2,
        decoder_up_block_types=("ResnetUpsampleBlock2D",) * 2, decoder_layers_per_block=1,
        decoder_norm_num_groups=8,
    ).save_pretrained(tmp_path / "noisy")
    with pytest.raises(InputError, match="'noisy' draws noise as it decodes, and a StableDiffusionXLPipeline does not"):
        load(bases["sdxl"], vae=str(tmp_path / "noisy"))


def test_tokens_take_no_other_autoencoder(models):
    with pytest.raises(InputError, match=r"draws tokens, which only its own .* leave generator.vae out"):
        load_generator(str(models.token_generator), vae="nowhere")


@pytest.fixture
def small_run(tree, models, small):
    tree["generator"] |= {"vae": str(small)}
    return tree | {"filters": [], "target": {"per_class": 1, "max_attempts": 2}}


def test_a_run_names_it_and_goes_on_only_with_the_same_content(small_run, small, tmp_path, terrasynth):
    own = shutil.copytree(small, tmp_path / "private" / "small")
    small_run["generator"]["vae"] = str(own)
    out = tmp_path / "run"
    run(Recipe.parse(small_run), out)
    content = find_autoencoder(str(small)).revision
    assert {(row["generator"], row["revision"].partition("+")[2]) for row in rows(out)} == {
        ("sd+vae:small", f"vae:{content}")}
    card = (out / "README.md").read_text()
    assert "`sd+vae:small`" in card
    assert "private" not in card
    assert "private" not in (out / "identity.json").read_text()
    sources = json.loads((out / "licence.json").read_text())["sources"]
    assert [(each["role"], each["name"]) for each in sources][1] == ("autoencoder", "small")
    assert str(own) in local_folders(out)
    moved = small_run | {"generator": small_run["generator"] | {"vae": str(small)}}
    run(Recipe.parse(moved | {"target": {"per_class": 2, "max_attempts": 4}}), out)
    assert terrasynth("verify", out)[0] == 0
    tiny_autoencoder(own, seed=1)
    with pytest.raises(InputError, match=r": generator\.revision: was .*with vae .*/small, now .*/private/small"):
        run(Recipe.parse(small_run), out)


@pytest.mark.parametrize("named", ["~/private/small", "~someone/small", "/private/small"])
def test_a_push_tells_of_its_folder(small_run, tmp_path, named):
    small_run["generator"] |= {"model": "ldm-ucm", "vae": named}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(small_run))
    assert local_folders(tmp_path) == [named]


def test_generate_takes_it_and_writes_what_it_was(bases, small, tmp_path, terrasynth):
    command = ["generate", "a river", "--model", bases["sd"], "--steps", 2, "--device", "cpu"]
    code, _, _ = terrasynth(*command, "--vae", small, "--out", tmp_path / "out")
    assert code == 0
    row = json.loads((tmp_path / "out" / "metadata.jsonl").read_text())
    assert row["generator"] == "sd+vae:small"
    assert row["revision"].endswith(f"+vae:{find_autoencoder(str(small)).revision}")
    code, _, lines = terrasynth(*command, "--vae", "nowhere", "--out", tmp_path / "none")
    assert code == 2
    assert "autoencoder 'nowhere' is no autoencoder of diffusers" in lines[-1]
