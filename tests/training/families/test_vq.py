"""The discrete tokenizer of pictures against its equations, the library's own layer, and a cut run."""

import math

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import VectorQuantizer
from safetensors.torch import load_file

from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.errors import InputError
from terrasynth.training.families.perception import ScenePerception
from terrasynth.training.families.vq import (
    CodeUse,
    VQSettings,
    VQTask,
    decode_tokens,
    encode_pictures,
    fit_codebook,
    nearest_codes,
    perplexity,
)
from terrasynth.training.running.loop import train
from terrasynth.training.running.saving import save_model
from terrasynth.training.running.settings import LoopSettings
from tests.tiny import tiny_scene

CPU = torch.device("cpu")
TINY = {"size": 32, "crop": 32, "codes": 24, "channels": (8, 8, 8), "groups": 4, "perceptual_weight": 0.1}


@pytest.fixture(scope="module")
def splits(real):
    return load_splits(read_pairs(real), 40)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return tiny_scene(tmp_path_factory.mktemp("scene"), ("beach", "forest", "river"))


@pytest.fixture
def make(splits, scene):
    def build(kind=VQTask, initial=None, **settings):
        torch.manual_seed(0)
        return kind(splits, VQSettings(**{**TINY, **settings}), CPU, ScenePerception(scene), initial)

    return build


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    torch.manual_seed(1)
    model = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[8, 8, 8], norm_num_groups=4, mid_block_add_attention=False, scaling_factor=0.7,
    )
    save_model(model, folder)
    return folder


def _batch(task, rows=4, seed=0):
    return task.batch(torch.arange(rows), torch.Generator().manual_seed(seed))


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _seen(task, batch, progress=0.0):
    """The encoder's latents and what the decoder is given for them (N, D, h, w), with their gradients' graph."""
    seen = {}
    handles = [
        task.model.quant_conv.register_forward_hook(lambda _, __, out: seen.update(latents=out)),
        task.model.post_quant_conv.register_forward_pre_hook(lambda _, args: seen.update(quantised=args[0])),
    ]
    losses = task.losses("tokenizer", batch, progress)
    for handle in handles:
        handle.remove()
    return seen["latents"], seen["quantised"], losses


def test_perplexity_counts_the_codes_in_even_use():
    assert perplexity(torch.full((16,), 3)) == pytest.approx(16)
    assert perplexity(torch.tensor([0, 9, 0, 0])) == pytest.approx(1)
    assert perplexity(torch.tensor([5, 0, 5, 0])) == pytest.approx(2)
    assert perplexity(torch.tensor([3, 1])) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_the_nearest_code_is_that_of_all_distances():
    latents, codebook = _normal(200, 4), _normal(30, 4, seed=1)
    expected = (latents[:, None] - codebook[None]).square().sum(2).argmin(1)
    assert torch.equal(nearest_codes(latents, codebook), expected)
    assert torch.equal(nearest_codes(codebook, codebook), torch.arange(30))


def test_fitted_codes_are_closer_than_random_latents():
    latents = _normal(600, 4)

    def distortion(rounds):
        codes = fit_codebook(latents, 20, torch.Generator().manual_seed(0), rounds)
        assert codes.shape == (20, 4)
        return (latents - codes[nearest_codes(latents, codes)]).square().sum(1).mean()

    assert distortion(10) < 0.8 * distortion(0)


def test_clusters_far_apart_are_found():
    centres = 10 * _normal(8, 4)
    latents = (centres[:, None] + 0.01 * _normal(8, 50, 4, seed=1)).flatten(0, 1)
    codes = fit_codebook(latents, 64, torch.Generator().manual_seed(0))
    assert torch.cdist(centres, codes).min(1).values.max() < 0.05
    assert torch.cdist(latents, codes).min(1).values.max() < 0.05


def test_more_codes_than_latents_are_all_latents():
    latents = _normal(3, 4)
    codes = fit_codebook(latents, 10, torch.Generator().manual_seed(0))
    assert torch.cdist(codes, latents).min(1).values.max() < 1e-4


def test_use_is_a_running_average_of_shares():
    use = CodeUse(4, decay=0.9)
    use.count(torch.tensor([0, 0, 0, 2]))
    expected = 0.9 * torch.full((4,), 0.25) + 0.1 * torch.tensor([0.75, 0, 0.25, 0])
    assert torch.allclose(use.share, expected)
    assert use.share.sum() == pytest.approx(1)


def test_dead_codes_are_put_onto_latents_and_used_ones_stay():
    use, codebook, latents = CodeUse(5), _normal(5, 3), _normal(4, 3, seed=1)
    use.share.copy_(torch.tensor([0.5, 0.001, 0.3, 0.0, 0.199]))
    before, chosen = codebook.clone(), torch.tensor([0, 6, 1, 11, 2])
    assert use.revive(codebook, latents, chosen, below=0.1) == 2
    assert torch.equal(codebook[[0, 2, 4]], before[[0, 2, 4]])
    assert torch.equal(codebook[[1, 3]], latents[[2, 3]])
    assert torch.allclose(use.share, torch.tensor([0.5, 0.2, 0.3, 0.2, 0.199]))
    assert use.revive(codebook, latents, chosen, below=0.1) == 0


@pytest.mark.parametrize(("progress", "moves"), [(0.0, True), (0.69, True), (0.71, False)])
def test_codes_are_revived_in_training_until_late(make, progress, moves):
    task = make()
    task.use.share[:3] = 0
    with torch.no_grad():
        task.codebook[:3] = 100
    latents, _, _ = _seen(task, _batch(task), progress)
    assert ((task.codebook[:3] - 100).abs().amax(1) > 1).tolist() == [moves] * 3
    if moves:
        flat = latents.detach().permute(0, 2, 3, 1).flatten(0, 2)
        assert torch.cdist(task.codebook.detach()[:3], flat).min(1).values.max() < 1e-3


def test_the_gradient_passes_straight_through_the_choice_of_the_code(make):
    task = make(codebook_weight=0, commitment_weight=0)
    latents, quantised, losses = _seen(task, _batch(task))
    assert (latents - quantised).abs().max() > 1e-3
    by_latents, by_quantised = torch.autograd.grad(sum(losses.values()), (latents, quantised))
    assert by_latents.abs().max() > 0
    assert torch.allclose(by_latents, by_quantised, rtol=1e-5)


def test_what_is_decoded_is_the_nearest_code(make):
    task = make()
    latents, quantised, _ = _seen(task, _batch(task))
    flat = latents.detach().permute(0, 2, 3, 1).flatten(0, 2)
    expected = task.codebook[nearest_codes(flat, task.codebook)].view(4, 8, 8, 4).permute(0, 3, 1, 2)
    assert torch.allclose(quantised, expected, atol=1e-5)


def test_codebook_and_commitment_losses_are_the_library_s(make):
    """van den Oord et al., equation 3; the library's layer has both terms in one loss."""
    task = make(codebook_weight=1.0, commitment_weight=0.25, perceptual_weight=0)
    batch = _batch(task)
    latents, quantised, losses = _seen(task, batch)
    distance = (latents - quantised).square().mean().item()
    assert losses["codebook"].item() == pytest.approx(distance, rel=1e-4)
    assert losses["commitment"].item() == pytest.approx(0.25 * distance, rel=1e-4)
    ours = torch.autograd.grad(losses["codebook"] + losses["commitment"], (latents, task.codebook))

    layer = VectorQuantizer(24, 4, beta=0.25, legacy=False)
    layer.embedding.weight.data.copy_(task.codebook.data)
    leaf = latents.detach().requires_grad_()
    _, loss, _ = layer(leaf)
    assert (losses["codebook"] + losses["commitment"]).item() == pytest.approx(loss.item(), rel=1e-5)
    theirs = torch.autograd.grad(loss, (leaf, layer.embedding.weight))
    for a, b in zip(ours, theirs, strict=True):
        assert a.abs().max() > 0
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-7)


def test_gumbel_codes_without_noise_become_the_nearest_as_temperature_falls(make):
    nearest, gumbel = make(), make(quantiser="gumbel", temperature=(1.0, 1e-5))
    gumbel.model.load_state_dict(nearest.model.state_dict())
    batch = {**_batch(nearest), "gumbel": torch.zeros(4 * 64, 24)}
    _, expected, _ = _seen(nearest, batch)
    _, warm, _ = _seen(gumbel, batch, 0.0)
    _, cold, _ = _seen(gumbel, batch, 1.0)
    assert (warm - expected).abs().max() > 0.1
    assert (cold - expected).abs().mean() < 1e-3


def test_the_gumbel_prior_is_the_divergence_from_even_use(make):
    task = make(quantiser="gumbel", prior_weight=0.5)
    latents, _, losses = _seen(task, _batch(task))
    distances = torch.cdist(latents.detach().permute(0, 2, 3, 1).flatten(0, 2), task.codebook.detach()).square()
    posterior = torch.distributions.Categorical(logits=-distances)
    even = torch.distributions.Categorical(logits=torch.zeros(24))
    expected = 0.5 * torch.distributions.kl_divergence(posterior, even).mean()
    assert losses["prior"].item() == pytest.approx(expected.item(), rel=1e-3)


def test_gumbel_noise_is_gumbel_s(make):
    noise = _batch(make(quantiser="gumbel"))["gumbel"]
    assert noise.shape == (4 * 64, 24)
    gumbel = torch.distributions.Gumbel(0.0, 1.0)
    error = 5 / math.sqrt(noise.numel())
    assert noise.mean().item() == pytest.approx(gumbel.mean.item(), abs=error * gumbel.stddev.item())
    assert (noise < 0).float().mean().item() == pytest.approx(gumbel.cdf(torch.tensor(0.0)).item(), abs=error)


@pytest.mark.parametrize("quantiser", ["nearest", "gumbel"])
def test_codes_encoder_and_decoder_all_learn(make, quantiser):
    task = make(quantiser=quantiser)
    sum(task.losses("tokenizer", _batch(task), 0.0).values()).backward()
    for part in (task.model.encoder, task.model.quantize, task.model.quant_conv, task.model.post_quant_conv,
                 task.model.decoder):
        gradients = [parameter.grad for parameter in part.parameters()]
        assert all(each is not None and each.isfinite().all() for each in gradients)
        assert max(each.abs().max() for each in gradients) > 0


def test_going_on_from_an_autoencoder_keeps_its_reconstruction(make, autoencoder):
    kl = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32).eval()
    task = make(initial=autoencoder)
    pixels = _batch(task)["pixels"]
    with torch.no_grad():
        mean = kl.encode(pixels).latent_dist.mean
        latents = task.model.encode(pixels).latents
        assert torch.allclose(latents, 0.7 * mean, atol=1e-4)
        found = task.model.decoder(task.model.post_quant_conv(latents))
        assert torch.allclose(found, kl.decode(mean).sample, atol=1e-4)
        assert found.std() > 0.01


def test_an_autoencoder_of_other_widths_is_named(make, autoencoder):
    with pytest.raises(InputError, match=r"needs\.initial has channels \[8, 8, 8\] and 4 latent channels; the preset "
                                         r"says \[8, 16, 16\] and 4"):
        make(initial=autoencoder, channels=(8, 16, 16))


def test_going_on_from_a_tokenizer_of_another_shape_is_named(make, tmp_path):
    save_model(make().model, tmp_path)
    with pytest.raises(InputError, match=r"needs\.initial has num_vq_embeddings 24; the preset says 12"):
        make(initial=tmp_path, codes=12)


def test_a_crop_larger_than_the_pictures_is_named(make):
    with pytest.raises(InputError, match=r"model\.crop 64 is larger than load_size 40"):
        make(crop=64)


@pytest.fixture
def fitted(make):
    """Codes where the latents are, so that bfloat16 arithmetic rarely changes which is the nearest."""
    task = make(codes=16)
    task.model.eval()
    return task.model


def test_tokens_are_those_of_the_library_up_to_bfloat16(fitted, splits):
    pixels = splits["train"].pixels[:8, :, :32, :32].float() / 127.5 - 1
    tokens = encode_pictures(fitted, pixels, batch=3)
    assert tokens.shape == (8, 8, 8)
    assert tokens.dtype == torch.int64
    with torch.no_grad():
        latents = fitted.encode(pixels).latents
        expected = fitted.quantize(latents)[2][2].view(8, 8, 8)
    assert (tokens == expected).float().mean() > 0.9
    distances = torch.cdist(latents.permute(0, 2, 3, 1).flatten(0, 2), fitted.quantize.embedding.weight)
    chosen = distances.gather(1, tokens.view(-1, 1))[:, 0]
    assert (chosen - distances.min(1).values).max() < 0.05 * latents.std()
    assert torch.equal(encode_pictures(fitted, pixels[2:4]), tokens[2:4])


def test_pictures_are_those_of_the_library_up_to_bfloat16(fitted):
    tokens = torch.randint(16, (5, 8, 8), generator=torch.Generator().manual_seed(0))
    found = decode_tokens(fitted, tokens, batch=2)
    assert found.shape == (5, 3, 32, 32)
    assert found.dtype == torch.float32
    with torch.no_grad():
        codes = fitted.quantize.get_codebook_entry(tokens.flatten(), (5, 8, 8, 4))
        expected = fitted.decoder(fitted.post_quant_conv(codes)).clamp(-1, 1)
        looked_up = fitted.decode(tokens.flatten(), force_not_quantize=True, shape=(5, 8, 8, 4)).sample
    assert torch.allclose(looked_up.clamp(-1, 1), expected, atol=1e-6)
    assert expected.std() > 0.01
    assert (found - expected).abs().mean() < 0.05 * expected.std()


@pytest.mark.parametrize("quantiser", ["nearest", "gumbel"])
def test_a_few_steps_draw_the_same_batch_better(make, quantiser):
    task = make(quantiser=quantiser, perceptual_weight=0, reconstruction="mse", prior_weight=0)
    batch = _batch(task, 8)
    optimiser = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    errors = []
    for _ in range(25):
        losses = task.losses("tokenizer", batch, 0.0)
        errors.append(losses["mse"].item())
        sum(losses.values()).backward()
        optimiser.step()
        optimiser.zero_grad()
    assert min(errors[-3:]) < 0.7 * errors[0]


def test_the_discriminator_enters_late(make):
    task, names = make(), {"codebook", "commitment", "l1", "perceptual"}
    batch = _batch(task)
    assert set(task.losses("tokenizer", batch, 0.0)) == names
    assert task.losses("discriminator", batch, 0.0) == {}
    assert set(task.losses("tokenizer", batch, 0.6)) == {*names, "adversarial"}
    assert set(task.losses("discriminator", batch, 0.6)) == {"hinge"}
    never = make(adversarial_weight=0)
    assert set(never.losses("tokenizer", batch, 0.9)) == names
    assert never.losses("discriminator", batch, 0.9) == {}


def test_reconstruction_is_the_loss_that_is_asked_for(make):
    for name, distance in (("mse", F.mse_loss), ("l1", F.l1_loss)):
        task = make(reconstruction=name)
        batch = _batch(task)
        _, quantised, losses = _seen(task, batch)
        drawn = task.model.decoder(task.model.post_quant_conv(quantised))
        assert losses[name].item() == pytest.approx(distance(drawn, batch["pixels"]).item(), rel=1e-5)


def test_validation_says_how_many_codes_are_used(make):
    figures = make().validate()
    assert figures["score"] == -figures["perceptual"] < 0
    assert 1 <= figures["perplexity"] <= figures["codes_used"] <= 24
    assert figures["n"] == 12
    assert math.isfinite(figures["psnr_db"])


class _Cut(VQTask):
    """Stops as if the process had been killed."""

    left = math.inf

    def batch(self, rows, generator):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().batch(rows, generator)


@pytest.mark.parametrize("quantiser", ["nearest", "gumbel"])
def test_a_training_that_was_cut_ends_with_the_same_weights(make, tmp_path, quantiser):
    loop = LoopSettings(max_steps=8, batch_size=4, learning_rate=3e-3, warmup_steps=2, validate_every=3,
                        preview_every=8, checkpoint_every=3, mixed_precision="no")
    options = {"quantiser": quantiser, "revive_below": 0.6, "adversarial_start": 0.3}
    whole = make(_Cut, **options)
    outcome = train(whole, loop, tmp_path / "whole")
    cut, resumed = make(_Cut, **options), make(_Cut, **options)
    cut.left = 5
    with pytest.raises(KeyboardInterrupt):
        train(cut, loop, tmp_path / "cut")
    again = train(resumed, loop, tmp_path / "cut")
    assert resumed.left == math.inf
    assert (outcome.steps, outcome.best_step, outcome.figures) == (again.steps, again.best_step, again.figures)
    for name, network in whole.networks().items():
        state = resumed.networks()[name].state_dict()
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items()), name
    saved, other = (load_file(tmp_path / each / "diffusion_pytorch_model.safetensors") for each in ("whole", "cut"))
    assert all(torch.equal(saved[key], other[key]) for key in saved)
    assert {value.dtype for value in saved.values()} == {torch.float16}
