"""Consistency distillation: what a student that takes few, long steps has to say, and how it is held to it.

A teacher's probability-flow ODE runs from noise to an image. A consistency function maps every point of the curve to
the same point of it: to its clean end for a latent consistency model (LCM; Luo et al., 2023, arXiv:2310.04378), or,
where the curve is cut into phases, to the end of the phase (PCM; Wang et al., NeurIPS 2024, arXiv:2405.18407). So a
student with as many phases as it takes steps draws without adding noise between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

SIGMA_DATA = 0.5  # of the boundary conditions; Song et al., ICML 2023, appendix C
TIMESTEP_SCALING = 10.0  # as diffusers' LCMScheduler has it
HUBER_C = 1e-3  # as the authors of LCM set it


@dataclass(frozen=True)
class Curve:
    """The teacher's curve on a grid of times, from clean (index 0) to noise (index `solver_steps`).

    Attributes:
        alphas_cumprod: float64 (T,), those of the teacher's noise schedule.
        prediction_type: What the networks predict: "epsilon", "v_prediction" or "sample".
        solver_steps: Steps of the solver over the whole curve; divides T.
        phases: Parts of the curve, each with an end of its own; divides `solver_steps`. One is an LCM.
    """

    alphas_cumprod: torch.Tensor
    prediction_type: str
    solver_steps: int
    phases: int

    def __post_init__(self) -> None:
        if self.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(f"prediction type {self.prediction_type!r}: epsilon, v_prediction and sample are known")
        total = len(self.alphas_cumprod)
        if total % self.solver_steps or self.solver_steps % self.phases:
            raise ValueError(f"{total} times, {self.solver_steps} solver steps, {self.phases} phases: each has to be a "
                             "multiple of the next")

    def time(self, index: torch.Tensor) -> torch.Tensor:
        """Times int64 of grid indices int64; the clean end is -1."""
        return index * (len(self.alphas_cumprod) // self.solver_steps) - 1

    def end(self, index: torch.Tensor) -> torch.Tensor:
        """Grid index, int64 (B,), where the phase of each index >= 1 ends."""
        length = self.solver_steps // self.phases
        return (index - 1) // length * length

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Clean latents (B, ...) at grid indices (B,): alpha x + sigma epsilon."""
        alpha, sigma = self._scales(index, clean)
        return alpha * clean + sigma * noise

    def clean_and_noise(
        self, predicted: torch.Tensor, noisy: torch.Tensor, index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What a prediction (B, ...) at indices >= 1 says of the clean latent and of the noise."""
        alpha, sigma = self._scales(index, noisy)
        if self.prediction_type == "v_prediction":  # Salimans & Ho, ICLR 2022, appendix D
            return alpha * noisy - sigma * predicted, sigma * noisy + alpha * predicted
        if self.prediction_type == "sample":
            return predicted, (noisy - alpha * predicted) / sigma
        return (noisy - sigma * predicted) / alpha, predicted

    def move(
        self, predicted: torch.Tensor, noisy: torch.Tensor, index: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """One DDIM step (Song et al., ICLR 2021, equation 12 with eta 0) from `index` to `target`, both int64 (B,)."""
        clean, noise = self.clean_and_noise(predicted, noisy, index)
        alpha, sigma = self._scales(target, noisy)
        return alpha * clean + sigma * noise

    def consistency(self, predicted: torch.Tensor, noisy: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """The student's end of the phase (B, ...) from indices >= 1.

        With one phase c_skip z + c_out x (LCM, equation 9); with several the DDIM step to the end (PCM, equation 4),
        which is the identity at the end by itself.
        """
        if self.phases > 1:
            return self.move(predicted, noisy, index, self.end(index))
        skip, out = boundary_scalings(self.time(index))
        clean, _ = self.clean_and_noise(predicted, noisy, index)
        return _wide(skip, clean) * noisy + _wide(out, clean) * clean

    def _scales(self, index: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Alpha and sigma (B, 1, ...) at grid indices; 1 and 0 at the clean end."""
        time = self.time(index).to(self.alphas_cumprod.device)
        squared = torch.where(time < 0, 1.0, self.alphas_cumprod[time.clamp(min=0)])
        return _wide(squared.sqrt(), like), _wide((1 - squared).sqrt(), like)


def boundary_scalings(time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """c_skip and c_out, float64 (B,), at times int64 (B,); 1 and 0 at the clean end (Song et al., ICML 2023)."""
    scaled = time.clamp(min=0).double() * TIMESTEP_SCALING
    denominator = scaled.square() + SIGMA_DATA**2
    return SIGMA_DATA**2 / denominator, scaled / denominator.sqrt()


def guided(conditional: torch.Tensor, unconditional: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Classifier-free guidance with a scale (B,) a sample, 1 meaning none (Ho & Salimans, 2022; LCM, equation 13)."""
    return unconditional + _wide(scale, conditional) * (conditional - unconditional)


def pseudo_huber(student: torch.Tensor, target: torch.Tensor, c: float = HUBER_C) -> torch.Tensor:
    """sqrt(d^2 + c^2) - c of each entry, averaged over each sample: float32 (B,)."""
    difference = student.float() - target.float()
    return ((difference.square() + c * c).sqrt() - c).mean(tuple(range(1, difference.ndim)))


def guidance_embedding(scale: torch.Tensor, width: int) -> torch.Tensor:
    """Guidance scales (B,) as diffusers' pipelines hand them to a network: float32 (B, width).

    Sines, then cosines, of (scale - 1) * 1000 (Meng et al., CVPR 2023).
    """
    half = width // 2
    frequencies = torch.exp(-torch.arange(half, dtype=torch.float32) * (torch.log(torch.tensor(10_000.0)) / (half - 1)))
    angles = ((scale.float() - 1) * 1000)[:, None] * frequencies.to(scale.device)
    embedded = torch.cat([angles.sin(), angles.cos()], 1)
    return torch.nn.functional.pad(embedded, (0, width % 2))


def _wide(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    shape: Sequence[int] = (-1, *[1] * (like.ndim - 1))
    return values.to(like.device, torch.float32).reshape(shape)
