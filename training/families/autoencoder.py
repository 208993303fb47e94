"""The KL autoencoder of the latent diffusion model (Rombach et al., CVPR 2022, section 3.1).

L1, a perceptual distance on features of our own scene classifier (Zhang et al., CVPR 2018, with that network in place
of an ImageNet one), a patch adversarial loss (Isola et al., CVPR 2017), and a weak KL term. Latents are pressed to
turn and to shrink with the image (EQ-VAE, Kouzelis et al., ICML 2025), which a small diffusion model learns faster.
`decoder.py` trains the decoder further alone: what the latents mean stays, and a diffusion model on them stays right.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn
from typing_extensions import override

from terrasynth.training.data.pictures import PictureSet, dihedral
from terrasynth.training.families.adversarial import ImageCoderSettings, ImageCoderTask
from terrasynth.training.families.perception import PatchDiscriminator, ScenePerception
from terrasynth.training.running.same_shape import check_same_shape
from terrasynth.training.running.task import Losses

INITIAL_LOG_VARIANCE = -6.0


class AutoencoderSettings(ImageCoderSettings):
    """What a preset may set about the autoencoder.

    Attributes:
        latent_channels: Channels of a latent.
        kl_weight: Weight of the distance of the latents to a standard normal distribution.
        shrink_share: Share of steps that ask for the image at half its size from latents at half theirs.
    """

    latent_channels: int = 4
    kl_weight: float = 1e-5
    adversarial_weight: float = 0.05
    adversarial_start: float = 0.6
    shrink_share: float = 0.25


class AutoencoderTask(ImageCoderTask):
    """The players are the autoencoder and the discriminator.

    Args:
        splits: Images at `crop` pixels or more.
        initial: Folder of an `AutoencoderKL` of the same shape to go on from.

    Raises:
        InputError: The images are too small, or `initial` has another shape.
    """

    players = ("autoencoder", "discriminator")

    def __init__(self, splits: dict[str, PictureSet], settings: AutoencoderSettings, device: torch.device,
                 perception: ScenePerception, initial: Path | None = None) -> None:
        super().__init__(splits, settings, device, perception)
        self.model = AutoencoderKL(latent_channels=settings.latent_channels, **self.shape()).to(device)
        if initial is not None:
            self._go_on_from(initial)
        else:
            self._start_nearly_deterministic()
        self.discriminator = PatchDiscriminator().to(device)

    def _go_on_from(self, folder: Path) -> None:
        other = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
        check_same_shape(self.model.config, other.config,
                         ("block_out_channels", "latent_channels", "layers_per_block", "norm_num_groups"))
        self.model.load_state_dict(other.state_dict())
        self.model.register_to_config(scaling_factor=other.config.scaling_factor)

    @torch.no_grad()
    def _start_nearly_deterministic(self) -> None:
        """With unit noise on a latent that says nothing yet, the decoder learns to ignore the latent."""
        channels = self.settings.latent_channels
        self.model.quant_conv.weight[channels:].zero_()
        self.model.quant_conv.bias[channels:].fill_(INITIAL_LOG_VARIANCE)

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"autoencoder": self.model, "discriminator": self.discriminator}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        crop, pixels = self.settings.crop, self.crops(rows, generator)
        side = crop // 2 ** (len(self.settings.channels) - 1)
        noise = torch.randn(len(rows), self.settings.latent_channels, side, side, generator=generator)
        how = torch.tensor([int(torch.randint(8, (1,), generator=generator)),
                            int(torch.rand(1, generator=generator) < self.settings.shrink_share)])
        return {"pixels": pixels.to(self.device), "noise": noise.to(self.device), "how": how}

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        turn, shrink = (int(value) for value in batch["how"])
        real = dihedral(batch["pixels"], turn)
        real = F.avg_pool2d(real, 2) if shrink else real
        adversarial = self.joined(progress) and not shrink
        if player == "discriminator":
            return self.discriminator_losses(real, adversarial)
        posterior = self.model.encode(batch["pixels"]).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        latent = dihedral(mean + torch.exp(0.5 * log_variance) * batch["noise"], turn)
        latent = F.avg_pool2d(latent, 2) if shrink else latent
        fake = self.model.decode(latent.contiguous()).sample.float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        losses = {"l1": (fake - real).abs().mean(), "kl": self.settings.kl_weight * kl}
        if self.settings.perceptual_weight:
            losses["perceptual"] = self.settings.perceptual_weight * self.perception(fake, real)
        if adversarial:
            losses["adversarial"] = -self.settings.adversarial_weight * self.discriminator(fake).mean()
        self._fake = fake.detach()
        return losses

    @override
    @torch.no_grad()
    def reconstruct(self, pixels: torch.Tensor) -> torch.Tensor:
        """Decode the posterior mean."""
        parts = []
        for part in pixels.split(32):
            with torch.autocast(self.device.type, torch.bfloat16):
                latent = self.model.encode(part.to(self.device)).latent_dist.mode()
                parts.append(self.model.decode(latent).sample.float().cpu().clamp(-1, 1))
        return torch.cat(parts)

    @override
    def validate(self) -> dict[str, float]:
        real = self.resized(self.splits["val"].pixels)
        return {**self.fidelity(self.reconstruct(real), real), "n": float(len(real))}

    @torch.no_grad()
    def latent_scale(self, n: int = 512) -> float:
        """1 / standard deviation of the latents of training images: `scaling_factor` of the saved model."""
        pixels = self.resized(self.splits["train"].pixels[:: max(1, len(self) // n)])
        with torch.autocast(self.device.type, torch.bfloat16):
            latents = [self.model.encode(p.to(self.device)).latent_dist.mode().float().cpu() for p in pixels.split(32)]
        return 1 / torch.cat(latents).std().item()

    @override
    def save(self, folder: Path) -> None:
        self.model.register_to_config(scaling_factor=round(self.latent_scale(), 5))
        super().save(folder)
