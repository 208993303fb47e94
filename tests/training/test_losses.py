"""The losses against their equations and a second implementation."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler

from tests.tiny import tiny_scene
from training.autoencoder import AutoencoderSettings, AutoencoderTask
from training.clip import contrastive_loss
from training.data import read_pairs
from training.diffusion import NOISE_SCHEDULE, DiffusionSettings, DiffusionTask
from training.perception import ScenePerception
from training.pictures import load_splits
from training.saving import save_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_scene(folder / "scene", ("beach", "forest", "river"))
    torch.manual_seed(0)
    save_model(AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[8, 8, 8, 8], norm_num_groups=4, mid_block_add_attention=False, scaling_factor=1.0,
    ), folder / "vae")
    return folder


@pytest.fixture(scope="module")
def diffusion(real, models):
    torch.manual_seed(0)
    settings = DiffusionSettings(size=32, channels=(16, 16), groups=8, heads=2, text_width=16, text_layers=1,
                                 vocabulary=600)
    return DiffusionTask(load_splits(read_pairs(real), 32), settings, CPU, models / "vae", models / "scene")


def test_contrastive_loss_is_clips_when_only_the_diagonal_is_right():
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    target = torch.arange(6)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    assert torch.allclose(contrastive_loss(logits, torch.eye(6, dtype=torch.bool)), expected)


def test_contrastive_loss_asks_for_evenly_spread_positives():
    positive = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    even = torch.where(positive, 10.0, -10.0)
    expected = (2 * torch.log(torch.tensor(2.0))) / 3  # two of three rows split between two
    assert torch.allclose(contrastive_loss(even, positive), expected, atol=1e-4)
    assert contrastive_loss(even, torch.eye(3, dtype=torch.bool)) == pytest.approx(expected.item(), abs=1e-4)
    lopsided = even.clone()
    lopsided[0, 0] += 5
    assert contrastive_loss(lopsided, positive) > contrastive_loss(even, positive)


def test_the_target_is_the_velocity_and_the_sampler_understands_it(diffusion):
    """v = alpha * noise - sigma * x (Salimans & Ho, appendix D); DDIM takes the true v back to x in one step."""
    schedule = diffusion.noise_schedule
    x, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([3, 500, 999])
    alpha = schedule.alphas_cumprod[t].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - schedule.alphas_cumprod[t]).sqrt().view(-1, 1, 1, 1)
    v = schedule.get_velocity(x, noise, t)
    assert torch.allclose(v, alpha * noise - sigma * x, atol=1e-6)
    sampler = DDIMScheduler(**NOISE_SCHEDULE, clip_sample=False)
    sampler.set_timesteps(1000)
    noisy = schedule.add_noise(x, noise, t)
    for i in range(3):
        back = sampler.step(v[i:i + 1], int(t[i]), noisy[i:i + 1]).pred_original_sample
        assert torch.allclose(back, x[i:i + 1], atol=1e-4)


def test_min_snr_weight_of_v(diffusion, monkeypatch):
    """min(SNR, gamma) / (SNR + 1): the loss of a network that says zero is the weighted mean square of v."""
    batch = diffusion.batch(torch.arange(4), torch.Generator().manual_seed(1))
    zero = lambda noisy, *_, **__: (torch.zeros_like(noisy),)  # noqa: E731
    monkeypatch.setattr(diffusion.unet, "forward", zero)
    bar = diffusion.noise_schedule.alphas_cumprod[batch["timesteps"]]
    snr = bar / (1 - bar)
    alpha, sigma = bar.sqrt().view(-1, 1, 1, 1), (1 - bar).sqrt().view(-1, 1, 1, 1)
    v = alpha * batch["noise"] - sigma * batch["latents"]
    expected = (torch.minimum(snr, torch.tensor(5.0)) / (snr + 1) * v.square().mean((1, 2, 3))).mean()
    assert torch.allclose(diffusion.losses("model", batch, 0.0)["v"], expected, rtol=1e-4)


def test_captions_are_dropped_at_the_stated_rate(diffusion):
    null = torch.tensor(diffusion.tokenizer([""], padding="max_length", truncation=True)["input_ids"][0])
    dropped = total = 0
    for seed in range(60):
        ids = diffusion.batch(torch.arange(48), torch.Generator().manual_seed(seed))["input_ids"]
        dropped += int((ids == null).all(1).sum())
        total += len(ids)
    assert 0.09 < dropped / total < 0.15


def test_cached_latents_are_the_encoder_s_and_are_turned_in_a_batch(diffusion):
    from training.pictures import dihedral, to_float

    assert diffusion.mean.shape == (48, 4, 4, 4)
    pixels = F.interpolate(to_float(diffusion.splits["train"].pixels[:2]), 32, mode="area")
    with torch.no_grad():
        posterior = diffusion.vae.encode(pixels).latent_dist
    assert torch.allclose(diffusion.mean[:2].float(), posterior.mean, atol=0.05)
    still = diffusion.std.clone()
    try:
        diffusion.std.zero_()
        drawn = diffusion.batch(torch.zeros(64, dtype=torch.long), torch.Generator().manual_seed(0))["latents"]
    finally:
        diffusion.std.copy_(still)
    turned = [dihedral(diffusion.mean[0].float(), which) for which in range(8)]
    seen = {next(i for i, t in enumerate(turned) if torch.equal(t, latent)) for latent in drawn}
    assert seen == set(range(8))


def test_the_perceptual_distance_is_zero_for_equal_pictures_only(models):
    perception = ScenePerception(models / "scene")
    a, b = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert perception(a, a).item() == pytest.approx(0, abs=1e-10)
    assert perception(a, b).item() > 1e-4


def test_the_discriminator_enters_late_and_the_kl_is_the_closed_form(real, models):
    torch.manual_seed(0)
    settings = AutoencoderSettings(size=32, crop=32, channels=(8, 8, 8, 8), groups=4, shrink_share=0.0, kl_weight=1.0)
    task = AutoencoderTask(load_splits(read_pairs(real), 40), settings, CPU, ScenePerception(models / "scene"))
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    early = task.losses("autoencoder", batch, 0.0)
    assert set(early) == {"l1", "kl", "perceptual"}
    assert task.losses("discriminator", batch, 0.0) == {}
    late = task.losses("autoencoder", batch, 0.9)
    assert set(late) == {"l1", "kl", "perceptual", "adversarial"}
    assert set(task.losses("discriminator", batch, 0.9)) == {"hinge"}
    with torch.no_grad():
        posterior = task.model.encode(batch["pixels"]).latent_dist
    unit = torch.distributions.Normal(torch.zeros_like(posterior.mean), 1.0)
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(posterior.mean, posterior.std), unit).mean()
    assert torch.allclose(early["kl"], expected, rtol=1e-4)
