"""The tokenizer of latents: its losses against their equations, and what it leaves behind."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny, VQModel

from terrasynth.training.errors import InputError
from terrasynth.training.families.latent_vq import (
    LatentPatches,
    LatentVQSettings,
    LatentVQTask,
    decode_latent_tokens,
    encode_latents,
)
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.train import run_preset
from tests.training.families.test_diffusion import autoencoder_at, images_of, write_data

CPU = torch.device("cpu")
SMALL = {"views": {"size": 32, "count": 3}, "codes": 32, "code_width": 4, "channels": 8, "layers_per_block": 1,
         "groups": 4, "val_images": 4}
CHANGES = {f"model.{key}": value for key, value in SMALL.items()} | {
    "loop.max_steps": 4, "loop.batch_size": 4, "loop.validate_every": 2, "loop.preview_every": 4,
    "loop.checkpoint_every": 2, "loop.warmup_steps": 0, "loop.mixed_precision": "no"}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("latent-vq")
    write_data(root / "data")
    autoencoder_at(root / "vae", 1)
    return root


def task_of(places, work, **changes):
    torch.manual_seed(0)
    return LatentVQTask(images_of(places / "data"), LatentVQSettings.model_validate(SMALL | changes), CPU,
                        places / "vae", work / "cache")


def nearest(latents, codebook):
    """By the distances themselves, a latent at a time."""
    return torch.stack([(codebook - latent).square().sum(1).argmin() for latent in latents])


def test_the_losses_are_those_of_the_vq_vae(places, tmp_path):
    """Van den Oord et al., equation 3: reconstruction, ||sg[e] - z||^2 and beta ||e - sg[z]||^2."""
    task = task_of(places, tmp_path, revive_below=0.0, commitment_weight=0.5)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    found = task.losses("tokenizer", batch, 0.0)
    assert set(found) == {"mse", "codebook", "commitment"}
    encoded = task.model.encode(batch["latents"]).latents
    rows = encoded.permute(0, 2, 3, 1).reshape(-1, 4)
    codes = task.codebook[nearest(rows, task.codebook)]
    squared = (codes - rows).square().mean()
    torch.testing.assert_close(found["codebook"], squared)
    torch.testing.assert_close(found["commitment"], 0.5 * squared)
    back = task.model.decoder(task.model.post_quant_conv(codes.view(4, 4, 4, 4).permute(0, 3, 1, 2)))
    torch.testing.assert_close(found["mse"], F.mse_loss(back, batch["latents"]))


def test_gradients_pass_straight_through_to_the_encoder_and_codes_learn_from_their_own_loss_alone(places, tmp_path):
    task = task_of(places, tmp_path, revive_below=0.0)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    task.losses("tokenizer", batch, 0.0)["mse"].backward()
    assert task.codebook.grad is None or not task.codebook.grad.any()
    assert task.model.encoder.conv_in.weight.grad.abs().max() > 0
    task.model.zero_grad(set_to_none=True)
    task.losses("tokenizer", batch, 0.0)["codebook"].backward()
    assert task.codebook.grad.abs().max() > 0
    assert task.model.encoder.conv_in.weight.grad is None


def test_the_adversary_joins_when_it_is_told_to(places, tmp_path):
    task = task_of(places, tmp_path, adversarial_start=0.5, adversarial_weight=0.1, revive_below=0.0)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    assert "adversarial" not in task.losses("tokenizer", batch, 0.4)
    assert task.losses("discriminator", batch, 0.4) == {}
    found = task.losses("tokenizer", batch, 0.5)
    task.discriminator.eval()  # spectral norm takes a step of its power iteration in training
    fake, real = task.discriminator(task._fake), task.discriminator(batch["latents"])
    hinge = task.losses("discriminator", batch, 0.5)
    torch.testing.assert_close(hinge["hinge"], F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    torch.testing.assert_close(found["adversarial"], -0.1 * fake.mean(), rtol=0.1, atol=1e-3)
    assert task.rate("discriminator", "layers.0.bias") == 2.0
    assert task.rate("tokenizer", "quantize.embedding.weight") == 1.0


def test_the_discriminator_is_spectrally_normalized():
    torch.manual_seed(0)
    network = LatentPatches(4, 8)
    for _ in range(30):
        assert network(torch.randn(2, 4, 8, 8)).shape == (2, 1, 4, 4)
    network.eval()
    for layer in network.layers[::2]:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


def test_codes_that_nothing_uses_are_put_where_the_encoder_is(places, tmp_path):
    task = task_of(places, tmp_path)
    with torch.no_grad():
        task.codebook[:30] = 1000.0
        task.use.share[:30] = 0.0
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    rows = task.model.encode(batch["latents"]).latents.permute(0, 2, 3, 1).reshape(-1, 4).detach()
    task.losses("tokenizer", batch, 0.9)
    assert (task.codebook[:30] == 1000).all(), "past revive_until they stay"
    task.losses("tokenizer", batch, 0.1)
    distance = (task.codebook[:30, None] - rows[None]).square().sum(-1).amin(1)
    assert distance.max() < 1e-6


def test_tokens_and_back_are_those_of_the_library(places, tmp_path):
    task = task_of(places, tmp_path)
    latents = task.latents[:3, 0].float()
    tokens = encode_latents(task.model, latents, batch=2)
    assert (tokens.shape, tokens.dtype) == ((3, 4, 4), torch.int64)
    with torch.no_grad():
        encoded = task.model.encode(latents).latents
        _, _, (_, _, theirs) = task.model.quantize(encoded)
        assert torch.equal(tokens.flatten(), theirs.flatten())
        back = decode_latent_tokens(task.model, tokens, batch=2)
        torch.testing.assert_close(back, task.model(latents).sample)
        torch.testing.assert_close(
            back, task.model.decode(tokens.flatten(), force_not_quantize=True, shape=(3, 4, 4, 4)).sample)


def test_the_figures_on_val_are_what_they_say(places, tmp_path):
    task = task_of(places, tmp_path)
    found = task.validate()
    back, tokens = task.quantized(task.val)
    plain = AutoencoderTiny.from_pretrained(places / "vae")
    with torch.no_grad():
        torch.testing.assert_close(task.val, plain.encode(task.val_pixels).latents)
    assert found["mse"] == pytest.approx((back - task.val).square().mean().item())
    means = task.val.mean((0, 2, 3), keepdim=True)  # which a tokenizer that saw nothing would give: 1
    assert found["unexplained"] == pytest.approx(found["mse"] / ((task.val - means) ** 2).mean().item())
    neighbors = [float(((each[..., 1:] - each[..., :-1]) ** 2).mean()) for each in (back, task.val)]
    assert found["roughness"] == pytest.approx(neighbors[0] / neighbors[1])
    share = np.bincount(tokens.flatten().numpy(), minlength=32) / tokens.numel()
    assert found["perplexity"] == pytest.approx(np.exp(-sum(p * np.log(p) for p in share if p)))
    assert found["codes_used"] == (share > 0).sum()
    assert "score" not in found


def test_it_learns(places, tmp_path):
    task = task_of(places, tmp_path, adversarial_weight=0.0)
    before = task.validate()["unexplained"]
    loop = LoopSettings(max_steps=80, batch_size=8, learning_rate=3e-3, warmup_steps=0, mixed_precision="no",
                        validate_every=80, preview_every=99, checkpoint_every=80, ema_decay=0.9)
    assert train(task, loop, tmp_path / "out").figures["unexplained"] < 0.7 * before


def test_the_preset_trains_goes_on_and_writes_a_model_of_diffusers(places, tmp_path):
    overrides = CHANGES | {"needs.autoencoder": str(places / "vae")}
    run_preset("latent-vq-rs", places / "data", tmp_path / "out", overrides=overrides | {"loop.max_steps": 2})
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / ".cache").rglob("*.safetensors")}
    run_preset("latent-vq-rs", places / "data", tmp_path / "out", overrides=overrides)
    assert len(made) == 1
    assert made == {path: path.stat().st_mtime_ns for path in made}
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["steps"], record["best_step"], record["val"]["n"]) == (4, 4, 4)
    model = VQModel.from_pretrained(tmp_path / "out")
    assert (model.config.in_channels, model.config.num_vq_embeddings) == (4, 32)
    assert list((tmp_path / "out" / "previews").glob("*.png"))
    with pytest.raises(InputError, match="load_size 64 has no meaning here"):
        run_preset("latent-vq-rs", places / "data", tmp_path / "other", overrides=overrides | {"load_size": 64})
