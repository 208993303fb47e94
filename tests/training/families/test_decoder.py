"""A decoder trained further: what it moves, what it leaves, and that its adversary brings detail back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, VQModel
from safetensors.torch import load_file

from terrasynth.eval.models.references import EMBEDDED_ROOT
from terrasynth.training.data.pictures import PictureSet, dihedral, to_float
from terrasynth.training.errors import InputError
from terrasynth.training.families.decoder import DecoderSettings, DecoderTask
from terrasynth.training.families.perception import ScenePerception
from terrasynth.training.families.vq import flat, nearest_codes
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings

SIZE = 32
WIDTHS = {"in_channels": 3, "out_channels": 3, "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1,
          "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
          "norm_num_groups": 4, "sample_size": SIZE}
CPU = torch.device("cpu")


def _pictures(count: int, seed: int) -> PictureSet:
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, SIZE, SIZE), np.uint8))
    return PictureSet(pixels, [("",)] * count, torch.zeros(count, dtype=torch.int64), ("a",))


@pytest.fixture
def splits():
    return {"train": _pictures(12, 0), "val": _pictures(12, 1)}


@pytest.fixture
def continuous(tmp_path):
    torch.manual_seed(0)
    AutoencoderKL(latent_channels=4, mid_block_add_attention=False, **WIDTHS).save_pretrained(tmp_path / "kl")
    return tmp_path / "kl"


@pytest.fixture
def discrete(tmp_path):
    torch.manual_seed(0)
    VQModel(latent_channels=4, num_vq_embeddings=16, vq_embed_dim=4, lookup_from_codebook=True,
            mid_block_add_attention=False, **WIDTHS).save_pretrained(tmp_path / "vq")
    return tmp_path / "vq"


@pytest.fixture(params=["continuous", "discrete"])
def initial(request):
    return request.getfixturevalue(request.param)


def _task(splits, initial, **settings):
    return DecoderTask(splits, DecoderSettings(**{"size": SIZE, "crop": 24} | settings), CPU, initial)


def _loop(**settings):
    return LoopSettings(**{"max_steps": 3, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 0,
                           "mixed_precision": "no", "ema_decay": 0.0, "validate_every": 3, "preview_every": 3,
                           "checkpoint_every": 3} | settings)


def test_only_the_decoder_moves(splits, initial, tmp_path):
    train(_task(splits, initial), _loop(), tmp_path / "out")
    before = load_file(initial / "diffusion_pytorch_model.safetensors")
    after = load_file(tmp_path / "out" / "diffusion_pytorch_model.safetensors")
    moved = {name.split(".")[0] for name in after if not torch.equal(before[name].half(), after[name].half())}
    assert moved == {"decoder", "post_quant_conv"}


def test_the_discriminator_learns_in_its_own_turn_alone(splits, initial):
    task = _task(splits, initial)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    drawn = task.losses("decoder", batch, 0.5)
    assert set(drawn) == {"l1", "mean", "adversarial"}
    sum(drawn.values()).backward()
    assert all(parameter.grad is None for parameter in task.discriminator.parameters())
    assert all(parameter.grad is None for parameter in task.model.encoder.parameters())
    judged = task.losses("discriminator", batch, 0.5)
    assert set(judged) == {"hinge_patch", "hinge_texture"}
    decoder = {name: p.grad.clone() for name, p in task.model.decoder.named_parameters()}
    sum(judged.values()).backward()
    assert all(parameter.grad is not None for parameter in task.discriminator.parameters())
    assert all(torch.equal(p.grad, decoder[name]) for name, p in task.model.decoder.named_parameters())


@pytest.mark.parametrize(("settings", "progress"), [({"adversarial_weight": 0.0}, 0.9),
                                                    ({"adversarial_start": 0.5}, 0.4)])
def test_without_its_discriminator_it_is_a_regression_whose_best_state_counts(splits, initial, settings, progress):
    task = _task(splits, initial, **settings)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    assert set(task.losses("decoder", batch, progress)) == {"l1", "mean"}
    assert task.losses("discriminator", batch, progress) == {}
    figures = task.validate()
    assert figures["score"] == figures["psnr_db"]
    assert "score" not in _joined(splits, initial).validate()


def _joined(splits, initial):
    task = _task(splits, initial)
    task.losses("decoder", task.batch(torch.arange(4), torch.Generator().manual_seed(0)), 0.5)
    return task


def test_a_classifier_keeps_objects_what_they_are(splits, initial):
    perception = ScenePerception(EMBEDDED_ROOT / "scene-ucm")
    task = DecoderTask(splits, DecoderSettings(size=SIZE, crop=24, perceptual_weight=0.5), CPU, initial, perception)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    with torch.no_grad():
        distance = task.losses("decoder", batch, 0.5)["perceptual"]
        drawn = task._decoded(batch["latents"])
    assert torch.isclose(distance, 0.5 * perception(drawn, batch["pixels"]), rtol=1e-4)
    task = DecoderTask(splits, DecoderSettings(size=SIZE, crop=24, perceptual_weight=0), CPU, initial, perception)
    assert "perceptual" not in task.losses("decoder", batch, 0.5)


def test_a_crop_has_the_latents_of_its_place_in_the_whole_image(splits, continuous):
    task = _task(splits, continuous, crop=16, noise_share=0.0)
    model = AutoencoderKL.from_pretrained(continuous)
    found = 0
    batch = task.batch(torch.tensor([5]), torch.Generator().manual_seed(3))
    for turn in range(8):
        whole = dihedral(to_float(splits["train"].pixels[5:6]), turn)
        with torch.no_grad():
            latents = model.encode(whole).latent_dist.mode()
        for top in range(3):
            for left in range(3):
                pixels = whole[..., 8 * top:8 * top + 16, 8 * left:8 * left + 16]
                if torch.equal(pixels, batch["pixels"]):
                    found += 1
                    assert torch.allclose(latents[..., top:top + 2, left:left + 2], batch["latents"], atol=1e-4)
    assert found == 1


def test_tokens_are_read_as_the_codes_that_they_stand_for(splits, discrete):
    task = _task(splits, discrete, crop=SIZE, noise_share=0.0)
    codes = task.model.quantize.embedding.weight.detach()
    latents = task.batch(torch.arange(4), torch.Generator().manual_seed(0))["latents"]
    nearest = codes[nearest_codes(flat(latents), codes)]
    assert torch.allclose(nearest, flat(latents), atol=1e-6)


def test_noise_reaches_the_stated_share_of_latents(splits, continuous):
    clean = _task(splits, continuous, noise_share=0.0)
    noisy = _task(splits, continuous, noise_share=1.0, noise=0.5)
    rows = torch.arange(12)
    one, other = (task.batch(rows, torch.Generator().manual_seed(0)) for task in (clean, noisy))
    assert torch.equal(one["pixels"], other["pixels"])
    spread = (other["latents"] - one["latents"]).flatten(1).std(1) / clean._deviation
    assert (spread > 0).all()
    assert spread.max() < 0.5 * 1.5  # a deviation of 36 values strays from the one that was asked for


def test_it_is_a_pure_function_of_its_step(splits, initial):
    one, other = (_task(splits, initial).batch(torch.arange(4), torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_does_not_fit_is_refused(splits, continuous, tmp_path):
    with pytest.raises(InputError, match=r"model\.size 40 has to be the load_size, 32, and model\.crop 24 at most"):
        _task(splits, continuous, size=40)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(InputError, match=r"needs\.initial 'other' is a UNet2DModel; an AutoencoderKL or a VQModel"):
        _task(splits, tmp_path / "other")
    with pytest.raises(InputError, match=r"needs\.initial 'nothing' cannot be read"):
        _task(splits, tmp_path / "nothing")
    torch.manual_seed(0)
    few = {**WIDTHS, "block_out_channels": [8, 8], "down_block_types": ["DownEncoderBlock2D"] * 2,
           "up_block_types": ["UpDecoderBlock2D"] * 2}
    AutoencoderKL(latent_channels=4, mid_block_add_attention=False, **few).save_pretrained(tmp_path / "two")
    with pytest.raises(InputError, match=r"needs\.initial makes 16 latents of 32 pixels; one that is 8 times smaller"):
        _task(splits, tmp_path / "two")
