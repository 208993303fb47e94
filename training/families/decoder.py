"""A decoder trained further by an adversary, while what it decodes stays as it is.

Regression alone gives the mean of what latents leave open, which is a blur, and a decoder that doubles and convolves
hides its doubt in a grid. A discriminator with two heads cures both: one judges patches given their latents (Isola et
al., CVPR 2017), one judges texture at full resolution; hinge loss and spectral normalization are those of Miyato et al.
(ICLR 2018). Encoder and, for image tokens, codebook stay, so that whatever was made for these latents or tokens fits.
A perceptual distance on a classifier's features keeps objects what they are; without `needs.classifier` no network that
judges is part of any loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, VQModel
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from typing_extensions import override

from terrasynth.eval.metrics.realism import LEAST, Textures, compare_spectra, tell_apart
from terrasynth.training.data.pictures import PictureSet, dihedral, to_bytes, to_channels_last, to_float
from terrasynth.training.errors import InputError
from terrasynth.training.families.adversarial import AdversarialTask
from terrasynth.training.families.perception import LatentDiscriminator, ScenePerception, hinge_loss
from terrasynth.training.families.vq import flat, nearest_codes
from terrasynth.training.running.sheets import tile
from terrasynth.training.running.task import Losses

AT_ONCE = 10
CELL = 8  # pixels of an image per latent
PEAK = 4  # pixels; the period of the grid that two doublings leave


class DecoderSettings(BaseModel):
    """What a preset may set about training a decoder further.

    Attributes:
        size: Side of the images that it is for, in pixels; a multiple of 8.
        crop: Side in pixels of what one step looks at; a multiple of 8. The encoder sees the whole image.
        noise: Largest deviation of what is added to latents, in units of their own deviation, since generated latents
            are not quite real ones.
        noise_share: Share of the images whose latents are noised.
        l1_weight: Weight of the mean absolute difference to the image.
        mean_weight: Weight of the same for means over 4 x 4 pixels.
        perceptual_weight: Weight of the difference in the features of `needs.classifier`, if there is one.
        adversarial_weight: Weight of the discriminator's verdict; 0 for a regression to the end.
        adversarial_start: Share of the training after which the discriminator joins.
        discriminator_rate: Learning rate of the discriminator in units of the decoder's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=128, gt=0, multiple_of=CELL)
    crop: int = Field(default=96, gt=0, multiple_of=CELL)
    noise: float = Field(default=0.4, ge=0)
    noise_share: float = Field(default=0.3, ge=0, le=1)
    l1_weight: float = Field(default=0.5, ge=0)
    mean_weight: float = Field(default=2.0, ge=0)
    perceptual_weight: float = Field(default=0.12, ge=0)
    adversarial_weight: float = Field(default=0.05, ge=0)
    adversarial_start: float = Field(default=0.0, ge=0, lt=1)
    discriminator_rate: float = Field(default=2.0, gt=0)


class DecoderTask(AdversarialTask):
    """The players are the decoder of an `AutoencoderKL` or a `VQModel`, and its discriminator.

    Args:
        splits: Images at `size` pixels.
        initial: Folder of the model whose decoder is trained.
        perception: Features of a frozen classifier; None for no perceptual distance.

    Raises:
        InputError: The images or a crop do not fit, or `initial` is of another kind or codes another resolution.
    """

    players = ("decoder", "discriminator")  # in this order, so that the second sees what the first has drawn

    def __init__(self, splits: dict[str, PictureSet], settings: DecoderSettings, device: torch.device,
                 initial: Path, perception: ScenePerception | None = None) -> None:
        room = splits["train"].pixels.shape[-1]
        if settings.size != room or settings.crop > room:
            raise InputError(f"model.size {settings.size} has to be the load_size, {room}, and model.crop "
                             f"{settings.crop} at most that")
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.size
        self.perception = None if perception is None else perception.to(device)
        self.model, self._codes = load_coder(initial)
        to_channels_last(self.model, device)
        self.model.requires_grad_(False)
        for part in (self.model.post_quant_conv, self.model.decoder):
            part.requires_grad_(True)
        sample = self._coded(self._some("train", 64))
        if sample.shape[-1] * CELL != settings.size:
            raise InputError(f"needs.initial makes {sample.shape[-1]} latents of {settings.size} pixels; one that is "
                             f"{CELL} times smaller is needed")
        self._deviation = float(sample.std())
        self.discriminator = LatentDiscriminator(sample.shape[1])
        to_channels_last(self.discriminator, device)
        self._val = self._some("val", len(splits["val"]))
        self._real = Textures(to_bytes(self._val).numpy())
        self._progress = 0.0

    def _some(self, split: str, count: int) -> torch.Tensor:
        """Images at even distances, float (N, 3, S, S) in [-1, 1]."""
        pixels = self.splits[split].pixels
        return to_float(pixels[:: max(1, len(pixels) // count)][:count])

    @torch.no_grad()
    def _coded(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the decoder reads, float (N, C, S/8, S/8), of images float (N, 3, S, S)."""
        return torch.cat([self._codes(part.to(self.device, memory_format=torch.channels_last)).float()
                          for part in pixels.split(AT_ONCE)])

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        read = self.model.post_quant_conv(latents.contiguous(memory_format=torch.channels_last))
        drawn: torch.Tensor = self.model.decoder(read)
        return drawn.float()

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"decoder": self.model, "discriminator": self.discriminator}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        settings, count = self.settings, len(rows)
        turns = torch.randint(8, (count,), generator=generator).tolist()
        places = torch.randint((settings.size - settings.crop) // CELL + 1, (count, 2), generator=generator).tolist()
        chance, strength = torch.rand(2, count, 1, 1, 1, generator=generator)
        pixels = torch.cat([dihedral(to_float(self.splits["train"].pixels[row:row + 1]), turn)
                            for row, turn in zip(rows.tolist(), turns, strict=True)])
        latents = self._coded(pixels).cpu()
        deviation = settings.noise * self._deviation * strength * (chance < settings.noise_share)
        latents = latents + deviation * torch.randn(latents.shape, generator=generator)
        cells = settings.crop // CELL
        parts = {
            "pixels": [image[:, CELL * top:CELL * top + settings.crop, CELL * left:CELL * left + settings.crop]
                       for image, (top, left) in zip(pixels, places, strict=True)],
            "latents": [code[:, top:top + cells, left:left + cells]
                        for code, (top, left) in zip(latents, places, strict=True)],
        }
        return {name: torch.stack(values).to(self.device, memory_format=torch.channels_last)
                for name, values in parts.items()}

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        settings, real, self._progress = self.settings, batch["pixels"], progress
        told = batch["latents"] / self._deviation
        self.discriminator.requires_grad_(player == "discriminator")  # the decoder's step has no use for its gradients
        if player == "discriminator":
            if not self.joined(progress) or self._fake is None:
                return {}
            verdicts = zip(("patch", "texture"), self.discriminator(real, told),
                           self.discriminator(self._fake, told), strict=True)
            return {f"hinge_{name}": hinge_loss(true, drawn) for name, true, drawn in verdicts}
        fake = self._decoded(batch["latents"])
        losses = {
            "l1": settings.l1_weight * (fake - real).abs().mean(),
            "mean": settings.mean_weight * (F.avg_pool2d(fake, 4) - F.avg_pool2d(real, 4)).abs().mean(),
        }
        if self.perception is not None and settings.perceptual_weight:
            losses["perceptual"] = settings.perceptual_weight * self.perception(fake, real)
        if self.joined(progress):
            patch, texture = self.discriminator(fake, told)
            losses["adversarial"] = -settings.adversarial_weight * (patch.mean() + texture.mean())
        self._fake = fake.detach()
        return losses

    @torch.no_grad()
    def reconstruct(self, pixels: torch.Tensor) -> torch.Tensor:
        """Code and decode: float (N, 3, S, S) in [-1, 1] for the same of real images."""
        return torch.cat([self._decoded(self._coded(part)).clamp(-1, 1).cpu() for part in pixels.split(AT_ONCE)])

    @override
    def validate(self) -> dict[str, float]:
        """Fidelity as PSNR in dB, and realism, of coded and decoded `val` images."""
        drawn = self.reconstruct(self._val)
        psnr = 10 * torch.log10(4 / (drawn - self._val).square().mean((1, 2, 3))).mean().item()
        made = to_bytes(drawn).numpy()
        spectrum = compare_spectra(made, self._real)
        figures = {"psnr_db": psnr, "fine_db": spectrum.fine, "grid_db": spectrum.peaks[PEAK], "n": float(len(made))}
        if len(made) >= 2 * LEAST:
            figures["told_apart"] = tell_apart(made, self._real).accuracy
        # With an adversary the distance rises while the images get better, so the last state is the one to keep.
        return figures if self.joined(self._progress) else figures | {"score": psnr}

    @override
    def preview(self) -> np.ndarray:
        real = self._val[::13][:16]
        return tile(torch.cat([real, self.reconstruct(real)]), columns=8)


def load_coder(folder: Path) -> tuple[Any, Callable[[torch.Tensor], torch.Tensor]]:
    """An `AutoencoderKL` or a `VQModel` in float32, and what makes of images (N, 3, S, S) what its decoder reads.

    Raises:
        InputError: The folder holds neither.
    """
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_class_name", "")
    except (OSError, ValueError) as error:
        raise InputError(f"needs.initial {folder.name!r} cannot be read: {error}; name an AutoencoderKL or a "
                         "VQModel of diffusers") from error
    if kind == "AutoencoderKL":
        continuous = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
        return continuous, lambda pixels: continuous.encode(pixels).latent_dist.mode()
    if kind != "VQModel":
        raise InputError(f"needs.initial {folder.name!r} is a {kind or 'model without a class'}; an AutoencoderKL or a "
                         "VQModel is needed")
    discrete = VQModel.from_pretrained(folder, torch_dtype=torch.float32)

    def codes_of(pixels: torch.Tensor) -> torch.Tensor:
        latents, codes = discrete.encode(pixels).latents, discrete.quantize.embedding.weight
        rows = codes[nearest_codes(flat(latents), codes)]
        n, _, height, width = latents.shape
        quantized: torch.Tensor = rows.view(n, height, width, -1).permute(0, 3, 1, 2)
        return quantized

    return discrete, codes_of
