from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler, StableDiffusionPipeline

from terrasynth.training.tuning.consistency import Curve, boundary_scalings, guidance_embedding, guided, pseudo_huber

KINDS = ("epsilon", "v_prediction", "sample")
BETAS = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def schedule(kind="v_prediction", **further):
    return DDIMScheduler(**BETAS, prediction_type=kind, clip_sample=False, set_alpha_to_one=True, steps_offset=1,
                         timestep_spacing="trailing", **further)


def curve(kind="v_prediction", solver_steps=40, phases=4):
    return Curve(schedule().alphas_cumprod.double(), kind, solver_steps, phases)


def latents(n=5, seed=0):
    return torch.randn(n, 4, 3, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_that_of_diffusers_ddim(kind):
    ours, theirs = curve(kind), schedule(kind)
    theirs.set_timesteps(40)
    for position, time in enumerate(theirs.timesteps):
        index = torch.tensor([40 - position])
        assert ours.time(index).item() == time
        predicted, noisy = latents(1, position), latents(1, 100 + position)
        expected = theirs.step(predicted, time, noisy, eta=0).prev_sample
        torch.testing.assert_close(ours.move(predicted, noisy, index, index - 1), expected, rtol=1e-4, atol=1e-5)


def test_each_index_is_moved_by_its_own_times():
    ours, predicted, noisy = curve(), latents(), latents(seed=1)
    index = torch.tensor([1, 10, 11, 25, 40])
    together = ours.move(predicted, noisy, index, ours.end(index))
    for row in range(5):
        part = slice(row, row + 1)
        alone = ours.move(predicted[part], noisy[part], index[part], ours.end(index[part]))
        torch.testing.assert_close(together[part], alone)


def test_phases_end_where_a_sampler_of_as_many_steps_lands():
    ours, theirs = curve(), schedule()
    theirs.set_timesteps(4)
    starts = torch.tensor([40, 30, 20, 10])
    assert ours.time(starts).tolist() == theirs.timesteps.tolist() == [999, 749, 499, 249]
    assert ours.time(ours.end(starts)).tolist() == [749, 499, 249, -1]
    assert ours.end(torch.tensor([1, 10, 11, 21, 31])).tolist() == [0, 0, 10, 20, 30]
    assert curve(phases=1).end(torch.tensor([1, 17, 40])).tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_curve_of_one_phase_says_what_the_lcm_scheduler_takes_for_clean(kind):
    ours, theirs = curve(kind, 50, 1), LCMScheduler(**BETAS, prediction_type=kind, original_inference_steps=50)
    theirs.set_timesteps(4)
    for position, time in enumerate(theirs.timesteps):
        index = (time[None] + 1) // 20
        assert ours.time(index).item() == time, "the scheduler's times lie on the grid that was learned"
        predicted, noisy = latents(1, position), latents(1, 7 + position)
        expected = theirs.step(predicted, time, noisy, generator=torch.Generator().manual_seed(0)).denoised
        torch.testing.assert_close(ours.consistency(predicted, noisy, index), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_and_clean_latent_are_got_back(kind):
    ours, clean, noise, index = curve(kind), latents(), latents(seed=1), torch.tensor([1, 10, 20, 30, 40])
    noisy = ours.add_noise(clean, noise, index)
    alpha = schedule().alphas_cumprod[ours.time(index)].sqrt()[:, None, None, None]
    sigma = (1 - alpha.square()).sqrt()
    predicted = {"epsilon": noise, "sample": clean, "v_prediction": alpha * noise - sigma * clean}[kind]
    found_clean, found_noise = ours.clean_and_noise(predicted, noisy, index)
    torch.testing.assert_close(found_clean, clean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found_noise, noise, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.add_noise(clean, noise, torch.zeros(5, dtype=torch.int64)), clean)


@pytest.mark.parametrize("phases", [1, 4])
def test_the_exact_consistency_function_of_gaussian_data_has_almost_no_loss(phases):
    """Of N(0, s^2) the ODE is known: z keeps its ratio to the standard deviation at its time."""
    spread, loss = 0.5, {}
    for steps in (40, 200, 1000):
        ours = curve("epsilon", steps, phases)
        index = torch.arange(1, steps + 1)
        noisy = latents(steps)
        alpha2 = torch.where(index < 0, 1.0, ours.alphas_cumprod[ours.time(index)])
        def deviation(at, ours=ours):
            time = ours.time(at)
            squared = torch.where(time < 0, 1.0, ours.alphas_cumprod[time.clamp(min=0)])
            return (squared * spread**2 + 1 - squared).sqrt().float()[:, None, None, None]
        exact = (1 - alpha2).sqrt().float()[:, None, None, None] * noisy / deviation(index) ** 2  # E[epsilon | z]
        nearer = ours.move(exact, noisy, index, index - 1)
        end = ours.end(index)
        from_here = noisy * deviation(end) / deviation(index)
        from_there = nearer * deviation(end) / deviation(index - 1)
        loss[steps] = pseudo_huber(from_here, from_there, c=0).mean().item()
    assert loss[1000] < loss[200] / 4 < loss[40] / 16
    assert loss[1000] < 1e-3


def test_boundary_scalings_are_those_of_the_scheduler_and_the_identity_at_the_clean_end():
    theirs = LCMScheduler(**BETAS)
    times = torch.tensor([0, 1, 19, 499, 999])
    skip, out = boundary_scalings(times)
    for position, time in enumerate(times.tolist()):
        expected = theirs.get_scalings_for_boundary_condition_discrete(time)
        np.testing.assert_allclose([skip[position], out[position]], expected, rtol=1e-9)
    assert boundary_scalings(torch.tensor([-1]))[0].item() == 1
    assert boundary_scalings(torch.tensor([-1]))[1].item() == 0


@pytest.mark.parametrize("width", [32, 33])
def test_the_guidance_is_embedded_as_the_pipeline_embeds_it(width):
    scale = torch.tensor([1.0, 2.5, 7.5])
    expected = StableDiffusionPipeline.get_guidance_scale_embedding(None, scale - 1, embedding_dim=width)
    torch.testing.assert_close(guidance_embedding(scale, width), expected, rtol=1e-3, atol=1e-3)


def test_guidance_is_one_scale_a_sample():
    conditional, unconditional = latents(2), latents(2, seed=1)
    both = guided(conditional, unconditional, torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(both[0], conditional[0])
    torch.testing.assert_close(both[1], 3 * conditional[1] - 2 * unconditional[1])


def test_pseudo_huber_is_quadratic_near_and_absolute_far():
    near, far = torch.full((1, 4), 1e-5), torch.full((1, 4), 10.0)
    zero = torch.zeros(1, 4)
    assert pseudo_huber(near, zero).item() == pytest.approx(1e-10 / 2e-3, rel=0.1)
    assert pseudo_huber(far, zero).item() == pytest.approx(10 - 1e-3, rel=1e-5)


@pytest.mark.parametrize(("steps", "phases"), [(30, 4), (40, 7), (39, 3)])
def test_grids_that_do_not_divide_are_refused(steps, phases):
    with pytest.raises(ValueError, match="each has to be a multiple of the next"):
        curve("epsilon", steps, phases)


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="'flow': epsilon, v_prediction and sample are known"):
        curve("flow")
