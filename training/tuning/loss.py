"""The loss of a diffusion model that predicts noise, velocity or the image, weighted by the signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import torch

from terrasynth.training.errors import InputError

PREDICTIONS = ("epsilon", "v_prediction", "sample")


class DiffusionLoss:
    """Mean squared error of what a network predicts, weighted as min-SNR-gamma (Hang et al., ICCV 2023).

    With x_t = a_t x_0 + s_t e and SNR_t = a_t^2 / s_t^2, the weight of the error in x_0 is min(SNR_t, gamma)
    (equation 8 there); an error in e is one in x_0 times SNR_t, an error in v one times SNR_t + 1, so their
    weights are min(SNR_t, gamma) / SNR_t and min(SNR_t, gamma) / (SNR_t + 1).

    Args:
        scheduler: The pipeline's own; its betas and prediction type count.
        gamma: None weighs every step alike.

    Raises:
        InputError: The pipeline predicts something else.
    """

    def __init__(self, scheduler: Any, gamma: float | None) -> None:  # noqa: ANN401 - schedulers share no class
        from diffusers import DDPMScheduler

        self.gamma = gamma
        self.prediction = scheduler.config.get("prediction_type", "epsilon")
        if self.prediction not in PREDICTIONS or "Flow" in type(scheduler).__name__:
            raise InputError(f"the base's scheduler is a {type(scheduler).__name__} with prediction_type "
                             f"{self.prediction!r}, which cannot be tuned here; {', '.join(PREDICTIONS)} can")
        self.noising = DDPMScheduler.from_config(scheduler.config)
        self.steps = int(self.noising.config.num_train_timesteps)
        self.alphas: torch.Tensor = self.noising.alphas_cumprod.double()

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the network has to predict; (N, C, h, w)."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return latents
        velocity: torch.Tensor = self.noising.get_velocity(latents, noise, timesteps)
        return velocity

    def weights(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Weight of each sample's mean squared error, float32 (N,)."""
        if self.gamma is None:
            return torch.ones(len(timesteps), device=timesteps.device)
        alphas = self.alphas.to(timesteps.device)[timesteps]
        noise = 1 - alphas
        # min(SNR, gamma) = min(a^2, gamma s^2) / s^2, written so that no signal and no noise divide nothing by nothing.
        capped = torch.minimum(alphas, self.gamma * noise)
        if self.prediction == "epsilon":
            weights = capped / alphas.clamp(min=1e-12)
        elif self.prediction == "v_prediction":
            weights = capped  # / s^2, over SNR + 1 = 1 / s^2
        else:
            weights = capped / noise.clamp(min=1e-12)
        return weights.float()

    def __call__(self, predicted: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor,
                 timesteps: torch.Tensor) -> torch.Tensor:
        """The loss of each sample, float32 (N,)."""
        error = predicted.float() - self.target(latents, noise, timesteps).float()
        losses: torch.Tensor = self.weights(timesteps) * error.square().flatten(1).mean(1)
        return losses
