"""Image tokens from latents: a VQ-VAE (van den Oord et al., NeurIPS 2017) between an autoencoder's two halves.

Nothing is encoded or decoded in a step, so it trains in a fraction of the time of a tokenizer of pixels. A
discriminator on latents (hinge loss, as in VQGAN, Esser et al., CVPR 2021) keeps quantized latents as rough as real
ones: the nearest mean of a latent is smoother than the latent. Unused codes are revived
(`terrasynth.training.families.vq`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import VQModel
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from terrasynth.training.data.latent_views import LatentViews, ViewSettings, load_autoencoder, to_latents, to_pixels
from terrasynth.training.data.pictures import to_float
from terrasynth.training.data.views import Pictures, spread
from terrasynth.training.families.adversarial import AdversarialTask
from terrasynth.training.families.groups import check_groups
from terrasynth.training.families.vq import (
    CodeUse,
    decode_codes,
    encode_pictures,
    fit_codebook,
    flat,
    perplexity,
    quantize,
)
from terrasynth.training.running.sheets import tile
from terrasynth.training.running.task import Losses


class LatentVQSettings(BaseModel):
    """What a preset may set about image tokens from latents.

    Attributes:
        views: How training images are seen.
        codes: Size of the codebook.
        code_width: Width of a code.
        channels: Width of encoder and decoder.
        layers_per_block: Residual blocks of each half.
        groups: Groups of their normalization.
        commitment_weight: Weight of the encoder's distance to the codes.
        adversarial_weight: Weight of the discriminator's verdict; 0 for none.
        adversarial_start: Share of the budget after which it counts.
        discriminator_rate: Learning rate of the discriminator in units of the tokenizer's.
        revive_below: A code used less often than this share of an even use is revived; 0 never revives.
        revive_until: Share of the budget after which codes stay where they are.
        val_images: Images of `val` that are measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    views: ViewSettings = ViewSettings()
    codes: int = Field(default=2048, gt=1)
    code_width: int = Field(default=8, gt=0)
    channels: int = Field(default=96, gt=0)
    layers_per_block: int = Field(default=2, gt=0)
    groups: int = Field(default=16, gt=0)
    commitment_weight: float = 0.25
    adversarial_weight: float = 0.02
    adversarial_start: float = 0.3
    discriminator_rate: float = 2.0
    revive_below: float = 0.05
    revive_until: float = 0.7
    val_images: int = Field(default=256, gt=0)

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        check_groups(self.groups, self.channels)
        return self


class LatentPatches(nn.Module):
    """Judges overlapping patches of latents: logits (N, 1, h/2, w/2) of latents (N, C, h, w)."""

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()

        def conv(i: int, o: int, kernel: int, stride: int) -> nn.Module:
            return spectral_norm(nn.Conv2d(i, o, kernel, stride, (kernel - 1) // 2))

        self.layers = nn.Sequential(conv(channels, width, 3, 1), nn.LeakyReLU(0.2), conv(width, width, 3, 1),
                                    nn.LeakyReLU(0.2), conv(width, 2 * width, 4, 2), nn.LeakyReLU(0.2),
                                    conv(2 * width, 1, 3, 1))

    @override
    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(latents)
        return logits


class LatentVQTask(AdversarialTask):
    """Two players: the tokenizer, and from `adversarial_start` of the budget on the discriminator.

    Args:
        autoencoder: Folder of the autoencoder whose latents are quantized.
        cache: Folder for latents, which are made once.
    """

    players = ("tokenizer", "discriminator")

    def __init__(self, splits: dict[str, Pictures], settings: LatentVQSettings, device: torch.device,
                 autoencoder: Path, cache: Path) -> None:
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.views.size
        self.latents = LatentViews(splits["train"], settings.views, autoencoder, cache, device).all_latents()
        channels = self.latents.shape[2]
        self.model = VQModel(
            in_channels=channels, out_channels=channels, latent_channels=settings.code_width,
            sample_size=self.latents.shape[-1], down_block_types=["DownEncoderBlock2D"],
            up_block_types=["UpDecoderBlock2D"], block_out_channels=[settings.channels],
            layers_per_block=settings.layers_per_block, norm_num_groups=settings.groups, mid_block_add_attention=False,
            num_vq_embeddings=settings.codes, vq_embed_dim=settings.code_width, lookup_from_codebook=True,
            scaling_factor=1.0,
        ).to(device, memory_format=torch.channels_last)
        self.use = CodeUse(settings.codes).to(device)
        self.discriminator = LatentPatches(channels).to(device)
        self.autoencoder = load_autoencoder(autoencoder, device)
        rows = torch.arange(0, len(self), max(1, len(self) // 256))
        with torch.no_grad():
            some = flat(self.model.encode(self.latents[rows, 0].float().to(device)).latents).cpu()
        self.codebook.data.copy_(fit_codebook(some, settings.codes, torch.Generator().manual_seed(0)))
        self.val_pixels = self._val_pixels()
        self.val = torch.cat([to_latents(self.autoencoder, part.to(device)).cpu()
                              for part in self.val_pixels.split(16)])
        self.drawn: torch.Tensor | None = None

    @property
    def codebook(self) -> torch.Tensor:
        """The codes, float (K, D)."""
        weight: torch.Tensor = self.model.quantize.embedding.weight
        return weight

    def _val_pixels(self) -> torch.Tensor:
        val = self.splits["val"]
        rows = spread(len(val), self.settings.val_images)
        return to_float(torch.from_numpy(val.open(rows, self.size)).permute(0, 3, 1, 2))

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"tokenizer": self.model, "use": self.use, "discriminator": self.discriminator}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        views = torch.randint(self.settings.views.count, (len(rows),), generator=generator)
        chosen = torch.randint(2**31, (self.settings.codes,), generator=generator)
        return {"latents": self.latents[rows, views].float().to(self.device), "chosen": chosen.to(self.device)}

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        settings, real = self.settings, batch["latents"]
        adversarial = self.joined(progress)
        if player == "discriminator":
            return self.discriminator_losses(real, adversarial)
        encoded = self.model.encode(real).latents
        rows = flat(encoded)
        quantized, codebook, commitment = quantize(rows, self.codebook, self.use)
        n, width, height, columns = encoded.shape
        quantized = quantized.view(n, height, columns, width).permute(0, 3, 1, 2).contiguous()
        fake = self.model.decoder(self.model.post_quant_conv(quantized))
        losses = {"mse": F.mse_loss(fake, real), "codebook": codebook,
                  "commitment": settings.commitment_weight * commitment}
        if adversarial:
            losses["adversarial"] = -settings.adversarial_weight * self.discriminator(fake).mean()
        if settings.revive_below and progress < settings.revive_until:
            self.use.revive(self.codebook.data, rows.detach(), batch["chosen"], settings.revive_below)
        self._fake = fake.detach()
        return losses

    def quantized(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents float (N, C, h, w) after their tokens, and the tokens int64 (N, h, w)."""
        tokens = encode_latents(self.model, latents)
        return decode_latent_tokens(self.model, tokens), tokens

    @override
    def validate(self) -> dict[str, float]:
        """Mean squared error in latents, its share of their variance, roughness, and use of the codes.

        Roughness is the mean squared difference of neighboring latents over that of real ones. An adversary raises the
        error while images get better, so there is no score, and the last state is kept.
        """
        back, tokens = self.quantized(self.val)
        error = F.mse_loss(back, self.val).item()
        counts = torch.bincount(tokens.flatten(), minlength=self.settings.codes)
        rough, real_rough = (latents.diff(dim=-1).square().mean().item() for latents in (back, self.val))
        self.drawn = back[:: max(1, len(back) // 16)][:16]
        return {"mse": error, "unexplained": error / self.val.var((0, 2, 3), correction=0).mean().item(),
                "roughness": rough / real_rough, "perplexity": perplexity(counts),
                "codes_used": float((counts > 0).sum()), "n": float(len(back))}

    @override
    def preview(self) -> np.ndarray | None:
        if self.drawn is None:  # nothing was validated yet
            return None
        real = self.val_pixels[:: max(1, len(self.val) // 16)][:16]
        images = to_pixels(self.autoencoder, self.drawn.to(self.device)).cpu().clamp(-1, 1)
        return tile(torch.cat([real, images]), columns=8)



def encode_latents(model: VQModel, latents: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """Token ids int64 (N, h, w), on the CPU, of latents (N, C, h, w)."""
    return encode_pictures(model, latents.float(), batch, mixed=False)


def decode_latent_tokens(model: VQModel, tokens: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """Latents float32 (N, C, h, w), on the CPU, of token ids int64 (N, h, w)."""
    return decode_codes(model, tokens, batch, mixed=False)
