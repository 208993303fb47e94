"""What families with a discriminator share: two players, of which the second sees what the first has just drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, model_validator
from torch import nn
from typing_extensions import override

from terrasynth.training.data.pictures import PictureSet, random_dihedral, to_float
from terrasynth.training.errors import InputError
from terrasynth.training.families.groups import check_groups
from terrasynth.training.families.perception import ScenePerception, hinge_loss
from terrasynth.training.running.saving import save_model
from terrasynth.training.running.sheets import tile
from terrasynth.training.running.task import Losses, Task


class AdversarialTask(Task):
    """A task whose discriminator joins after a share of the budget.

    The settings have `adversarial_weight`, `adversarial_start` and, where the discriminator learns at another rate
    than the loop's, `discriminator_rate`.

    Attributes:
        discriminator: Tells what was drawn from what is real.
    """

    settings: Any
    model: Any
    discriminator: nn.Module
    _fake: torch.Tensor | None = None  # what the first player drew last

    @override
    def player_networks(self, player: str) -> Sequence[str]:
        return [player]

    @override
    def rate(self, network: str, parameter: str) -> float:
        own: float = getattr(self.settings, "discriminator_rate", 1.0)
        return own if network == "discriminator" else 1.0

    def joined(self, progress: float) -> bool:
        """Whether the discriminator has a say at a share `progress` of the budget."""
        return bool(self.settings.adversarial_weight > 0 and progress >= self.settings.adversarial_start)

    def discriminator_losses(self, real: torch.Tensor, joined: bool) -> Losses:
        """The hinge loss of real images or latents (N, C, H, W) against what was drawn last; nothing before."""
        if not joined or self._fake is None:
            return {}
        return {"hinge": hinge_loss(self.discriminator(real), self.discriminator(self._fake))}

    @override
    def save(self, folder: Path) -> None:
        save_model(self.model, folder)


class ImageCoderSettings(BaseModel):
    """What a preset may set about whatever codes and decodes images.

    Attributes:
        size: Side of the images that it is for, in pixels.
        crop: Side in pixels of what one step looks at.
        channels: Width at each resolution, each half the one before.
        layers_per_block: Residual blocks of each resolution.
        groups: Groups of the normalization.
        perceptual_weight: Weight of the difference in the features of `needs.classifier`.
        adversarial_weight: Weight of the discriminator's verdict; 0 for none.
        adversarial_start: Share of the budget after which it counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = 128
    crop: int = 96
    channels: tuple[int, ...] = (16, 48, 128, 128)
    layers_per_block: int = 1
    groups: int = 4
    perceptual_weight: float = 0.12
    adversarial_weight: float
    adversarial_start: float

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        check_groups(self.groups, *self.channels)
        return self


class ImageCoderTask(AdversarialTask):
    """What codes and decodes images of `size` px, learned from random crops of `crop` px.

    Raises:
        InputError: The images are smaller than a crop.
    """

    def __init__(self, splits: dict[str, PictureSet], settings: Any, device: torch.device,  # noqa: ANN401
                 perception: ScenePerception) -> None:
        room = splits["train"].pixels.shape[-1]
        if settings.crop > room:
            raise InputError(f"model.crop {settings.crop} is larger than load_size {room}; make it smaller")
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.size
        self.perception = perception.to(device)

    @abstractmethod
    def reconstruct(self, pixels: torch.Tensor) -> torch.Tensor:
        """Code and decode: `float32` (N, 3, S, S) in [-1, 1] for the same of real images."""

    def shape(self) -> dict[str, Any]:
        """The arguments that `AutoencoderKL` and `VQModel` share."""
        settings, depth = self.settings, len(self.settings.channels)
        return {
            "in_channels": 3, "out_channels": 3, "sample_size": settings.size,
            "down_block_types": ["DownEncoderBlock2D"] * depth, "up_block_types": ["UpDecoderBlock2D"] * depth,
            "block_out_channels": list(settings.channels), "layers_per_block": settings.layers_per_block,
            "norm_num_groups": settings.groups, "mid_block_add_attention": False,
        }

    def crops(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The same random crop of all training images `rows`, flipped and turned: float (N, 3, C, C) in [-1, 1]."""
        train, crop = self.splits["train"], self.settings.crop
        top, left = torch.randint(train.pixels.shape[-1] - crop + 1, (2,), generator=generator).tolist()
        return to_float(random_dihedral(train.pixels[rows][..., top:top + crop, left:left + crop], generator))

    def resized(self, pixels: torch.Tensor) -> torch.Tensor:
        """`uint8` (N, 3, L, L) as float (N, 3, S, S) in [-1, 1]."""
        return F.interpolate(to_float(pixels), self.size, mode="area")

    def fidelity(self, fake: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
        """PSNR in dB and the perceptual distance, whose negative is the score: PSNR alone pays for the texture."""
        psnr = 10 * torch.log10(4 / (fake - real).square().mean((1, 2, 3))).mean().item()
        parts = zip(fake.split(64), real.split(64), strict=True)
        weighted = [(self.perception(a.to(self.device), b.to(self.device)).item(), len(a)) for a, b in parts]
        perceptual = sum(value * n for value, n in weighted) / len(real)
        return {"score": -perceptual, "psnr_db": psnr, "perceptual": perceptual}

    @override
    def preview(self) -> np.ndarray:
        real = self.resized(self.splits["val"].pixels)[::13][:16]
        return tile(torch.cat([real, self.reconstruct(real)]), columns=8)
