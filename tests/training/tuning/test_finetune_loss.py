import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_snr

from terrasynth.training.errors import InputError
from terrasynth.training.tuning.loss import DiffusionLoss
from tests.tiny_pipelines import PIPELINES, sd
from tests.training.finetuning import make_task, write_pictures


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("gamma", [None, 1.0, 5.0])
def test_weights_are_min_snr(prediction, gamma):
    loss = DiffusionLoss(EulerDiscreteScheduler(prediction_type=prediction, beta_schedule="scaled_linear"), gamma)
    steps = torch.arange(1000)
    snr = compute_snr(DDPMScheduler(beta_schedule="scaled_linear"), steps).double()
    capped = snr if gamma is None else snr.clamp(max=gamma)
    expected = {"epsilon": capped / snr, "v_prediction": capped / (snr + 1), "sample": capped}[prediction]
    expected = torch.ones(1000) if gamma is None else expected
    assert torch.allclose(loss.weights(steps).double(), expected.double(), rtol=1e-4)


def test_no_signal_at_the_end_divides_nothing_by_nothing():
    scheduler = DDPMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    weights = DiffusionLoss(scheduler, 5.0).weights(torch.tensor([999]))
    assert weights.item() == pytest.approx(0.0, abs=1e-9)


def test_a_flow_is_refused():
    with pytest.raises(InputError, match=r"FlowMatchEulerDiscreteScheduler .* cannot be tuned here"):
        DiffusionLoss(FlowMatchEulerDiscreteScheduler(), 5.0)


def _by_the_equations(task, batch, prediction):
    """Equations of DDPM (4), of v (Salimans & Ho, appendix D) and of min-SNR (8), in float64 and one by one."""
    config = task.pipeline.scheduler.config
    low, high = config.beta_start, config.beta_end
    spaced = np.linspace(low**0.5, high**0.5, 1000) ** 2 if config.beta_schedule == "scaled_linear" else np.linspace(
        low, high, 1000)
    kept = np.cumprod(1 - spaced)
    losses = []
    for i, step in enumerate(batch["timesteps"].tolist()):
        a, s = kept[step] ** 0.5, (1 - kept[step]) ** 0.5
        picture, noise = (batch[name][i].double() for name in ("latents", "noise"))
        noisy = (a * picture + s * noise).float()[None]
        states = task.null if batch["texts"][i] is None else task._encoded([batch["texts"][i]])
        time = torch.tensor([step])
        if "pooled_prompt_embeds" in states:
            told = {"text_embeds": states["pooled_prompt_embeds"], "time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]])}
            given = task.pipeline.unet(noisy, time, states["prompt_embeds"], added_cond_kwargs=told).sample
        elif "prompt_attention_mask" in states:
            given = task.pipeline.transformer(
                noisy, encoder_hidden_states=states["prompt_embeds"], timestep=time,
                encoder_attention_mask=states["prompt_attention_mask"],
                added_cond_kwargs={"resolution": None, "aspect_ratio": None}).sample[:, :4]
        else:
            given = task.pipeline.unet(noisy, time, states["prompt_embeds"]).sample
        wanted, snr = (noise, a**2 / s**2) if prediction == "epsilon" else (a * noise - s * picture, a**2 / s**2)
        weight = min(snr, 5.0) / (snr if prediction == "epsilon" else snr + 1)
        losses.append(weight * (given[0].double() - wanted).square().mean().item())
    return losses


@pytest.mark.parametrize(("name", "prediction"), [*((name, "epsilon") for name in PIPELINES), ("sd", "v_prediction")])
def test_the_loss_is_that_of_the_papers(tmp_path, name, prediction):
    base = sd(tmp_path / name, prediction=prediction) if name == "sd" else PIPELINES[name](tmp_path / name)
    task = make_task(base, write_pictures(tmp_path / "data"), tmp_path / "cache", caption_dropout=0.4)
    batch = task.batch(torch.arange(6), torch.Generator().manual_seed(3))
    assert None in batch["texts"]
    with torch.no_grad():
        found = task.sample_losses(batch).tolist()
        expected = _by_the_equations(task, batch, prediction)
    assert found == pytest.approx(expected, rel=5e-3)  # the cache holds the texts in half precision
