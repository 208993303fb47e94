"""What makes an autoencoder's images sharp: a perceptual distance, and a discriminator that judges patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
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
