"""What makes an autoencoder's images sharp: a perceptual distance, and a discriminator that judges patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches, not whole images: logits (N, 1, S/8, S/8) for pixels (N, 3, S, S)."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()

        def norm(n: int) -> nn.Module:
            return nn.GroupNorm(8, n)

        c = channels
        self.layers = nn.Sequential(
            nn.Conv2d(3, c, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(c, 2 * c, 4, 2, 1), norm(2 * c), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * c, 4 * c, 4, 2, 1), norm(4 * c), nn.LeakyReLU(0.2),
            nn.Conv2d(4 * c, 1, 3, 1, 1),
        )

    @override
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(pixels)
        return logits


class LatentDiscriminator(nn.Module):
    """Judges an image by its patches, given its latents, and by its texture at full resolution.

    Two heads: three strided convolutions down to the latents' resolution, where the latents are joined; and three
    plain convolutions. All spectrally normalized.
    """

    def __init__(self, latent_channels: int = 4, width: int = 32) -> None:
        super().__init__()

        def conv(i: int, o: int, kernel: int, stride: int = 1) -> nn.Module:
            return spectral_norm(nn.Conv2d(i, o, kernel, stride, (kernel - 1) // 2))

        c = width
        self.down = nn.Sequential(conv(3, c, 4, 2), nn.LeakyReLU(0.2), conv(c, 2 * c, 4, 2), nn.LeakyReLU(0.2),
                                  conv(2 * c, 4 * c, 4, 2), nn.LeakyReLU(0.2))
        self.joined = nn.Sequential(conv(4 * c + latent_channels, 4 * c, 3), nn.LeakyReLU(0.2), conv(4 * c, 1, 3))
        self.texture = nn.Sequential(conv(3, c, 3), nn.LeakyReLU(0.2), conv(c, c, 3), nn.LeakyReLU(0.2), conv(c, 1, 3))

    @override
    def forward(self, pixels: torch.Tensor, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, 1, S/8, S/8) and (N, 1, S, S) of pixels (N, 3, S, S) with latents (N, C, S/8, S/8)."""
        down = self.down(pixels)
        patch: torch.Tensor = self.joined(torch.cat([down, latents], 1))
        texture: torch.Tensor = self.texture(pixels)
        return patch, texture


def load_classifier(folder: str | Path) -> Any:  # noqa: ANN401 - a classifier of transformers, one of ours among them
    """A frozen classifier of a folder, float32, in evaluation mode."""
    from transformers import AutoModelForImageClassification

    import terrasynth.eval.models.efficientnet_lite  # noqa: F401 - registers what it defines

    classifier = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32)
    return classifier.eval().requires_grad_(False)


class ScenePerception(nn.Module):
    """Mean squared distance of unit-normalized feature maps of a frozen scene classifier (LPIPS, equation 1)."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.backbone = load_classifier(folder).base_model
        self.backbone.to(memory_format=torch.channels_last)

    def features(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The first four feature maps, each (N, C, h, w), unit length along C."""
        maps = self.backbone(pixels, output_hidden_states=True).hidden_states[:4]
        return [F.normalize(each.float(), dim=1) for each in maps]

    @override
    def forward(self, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = self.features(real)
        self.backbone.eval()
        pairs = zip(self.features(fake), wanted, strict=True)
        return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).sum()


def hinge_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Hinge loss of a discriminator (Miyato et al., ICLR 2018, equation 16), a scalar.

    Args:
        real: Logits of real samples, of any shape.
        fake: Logits of generated ones.
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
