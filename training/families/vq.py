"""The discrete tokenizer of images: VQ-VAE and VQGAN on `diffusers.VQModel`.

Nearest-neighbor codes with a straight-through gradient (van den Oord et al., NeurIPS 2017, equation 3), or codes
drawn by a Gumbel softmax over negative squared distances (Jang et al., ICLR 2017; at temperature 0 it is the nearest
neighbor, so both give the same kind of `VQModel`). A perceptual and a patch adversarial loss make it a VQGAN (Esser
et al., CVPR 2021). Codes that nothing uses are put where the encoder is (Dhariwal et al., 2020, appendix B.1).
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, VQModel
from torch import nn
from typing_extensions import override

from terrasynth.training.data.pictures import PictureSet
from terrasynth.training.errors import InputError
from terrasynth.training.families.adversarial import ImageCoderSettings, ImageCoderTask
from terrasynth.training.families.perception import PatchDiscriminator, ScenePerception
from terrasynth.training.running.same_shape import check_same_shape
from terrasynth.training.running.task import Losses


class VQSettings(ImageCoderSettings):
    """What a preset may set about the tokenizer of images.

    Attributes:
        codes: Size of the codebook.
        code_width: Width of a code.
        quantiser: How a latent becomes a code in training; both are nearest-neighbor in use.
        reconstruction: "mse" for a VQ-VAE, "l1" for a VQGAN.
        codebook_weight: Weight of the codes' distance to the latents, of the quantiser "nearest".
        commitment_weight: Weight of the latents' distance to the codes, of the quantiser "nearest".
        prior_weight: Weight of the distance of the choice of codes to an even one, of the quantiser "gumbel".
        temperature: Of the quantiser "gumbel", at the start and at the end.
        revive_below: A code used less often than this share of an even use is revived; 0 never revives.
        revive_until: Share of the budget after which codes stay where they are.
    """

    codes: int = 1024
    code_width: int = 4
    quantiser: Literal["nearest", "gumbel"] = "nearest"
    reconstruction: Literal["mse", "l1"] = "l1"
    codebook_weight: float = 1.0
    commitment_weight: float = 0.25
    prior_weight: float = 1e-3
    temperature: tuple[float, float] = (1.0, 0.0625)
    adversarial_weight: float = 0.015
    adversarial_start: float = 0.5
    revive_below: float = 0.05
    revive_until: float = 0.7


class CodeUse(nn.Module):
    """Running share of latents that went to each code; a module so that checkpoints hold it.

    Args:
        codes: Number of codes, K.
        decay: Of the exponential average, a step.
    """

    share: torch.Tensor

    def __init__(self, codes: int, decay: float = 0.98) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("share", torch.full((codes,), 1 / codes))

    @torch.no_grad()
    def count(self, indices: torch.Tensor) -> None:
        """Take the codes int64 (M,) of one step into account."""
        now = torch.bincount(indices, minlength=len(self.share)).to(self.share) / max(1, len(indices))
        self.share.lerp_(now, 1 - self.decay)

    @torch.no_grad()
    def revive(self, codebook: torch.Tensor, latents: torch.Tensor, chosen: torch.Tensor, below: float) -> int:
        """Put codes that are used less than `below` times an even use onto latents of the batch.

        Args:
            codebook: float (K, D), changed in place.
            latents: float (M, D), of this step.
            chosen: int64 (K,), which latent each code would take, modulo M.
            below: Share of 1 / K.

        Returns:
            The number of codes revived.
        """
        dead = self.share < below / len(self.share)
        codebook[dead] = latents[chosen[dead] % len(latents)].to(codebook)
        self.share[dead] = 1 / len(self.share)
        return int(dead.sum())


def perplexity(counts: torch.Tensor) -> float:
    """Exp of the entropy of the codes' use: how many codes are in even use; counts (K,) -> 1 .. K."""
    share = counts.double() / counts.sum()
    return float(torch.exp(-torch.special.xlogy(share, share).sum()))


def nearest_codes(latents: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Index of the nearest code: latents float (M, D), codebook float (K, D) -> int64 (M,)."""
    return _squared_distances(latents, codebook).argmin(1)


def _squared_distances(latents: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    latents, codebook = latents.float(), codebook.float()
    product = torch.addmm(codebook.square().sum(1), latents, codebook.T, alpha=-2)
    return product + latents.square().sum(1, keepdim=True)


def fit_codebook(latents: torch.Tensor, codes: int, generator: torch.Generator, rounds: int = 10) -> torch.Tensor:
    """Lloyd's k-means on latents: float (M, D) -> float (K, D); empty cells restart on random latents.

    Args:
        latents: M latents of training images, M >= 1.
        codes: K.
        generator: CPU generator.
        rounds: Lloyd steps.
    """
    centres = latents[torch.randint(len(latents), (codes,), generator=generator)].clone()
    for _ in range(rounds):
        owner = nearest_codes(latents, centres)
        counts = torch.bincount(owner, minlength=codes)
        sums = torch.zeros_like(centres).index_add_(0, owner, latents)
        fresh = latents[torch.randint(len(latents), (codes,), generator=generator)]
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], fresh)
    return centres


class VQTask(ImageCoderTask):
    """The players are the tokenizer and the discriminator.

    Args:
        splits: Images at `crop` pixels or more.
        initial: Folder to go on from: of a `VQModel` of the same shape, or of an `AutoencoderKL` of the same widths.

    Raises:
        InputError: `initial` has another shape.
    """

    players = ("tokenizer", "discriminator")

    def __init__(self, splits: dict[str, PictureSet], settings: VQSettings, device: torch.device,
                 perception: ScenePerception, initial: Path | None = None) -> None:
        super().__init__(splits, settings, device, perception)
        self.model = VQModel(
            latent_channels=settings.code_width, num_vq_embeddings=settings.codes, vq_embed_dim=settings.code_width,
            lookup_from_codebook=True, scaling_factor=1.0, **self.shape(),
        )
        goes_on = initial is not None and _class_name(initial) == "VQModel"
        if initial is not None and goes_on:
            self._go_on_from(initial)
        elif initial is not None:
            self._start_from(initial)
        self.model.to(device)
        self.use = CodeUse(settings.codes).to(device)
        self.discriminator = PatchDiscriminator().to(device)
        if not goes_on:
            start = fit_codebook(self._some_latents(), settings.codes, torch.Generator().manual_seed(0))
            self.codebook.data.copy_(start)

    @property
    def codebook(self) -> torch.Tensor:
        """The codes, float (K, D)."""
        weight: torch.Tensor = self.model.quantize.embedding.weight
        return weight

    def _go_on_from(self, folder: Path) -> None:
        other = VQModel.from_pretrained(folder, torch_dtype=torch.float32)
        check_same_shape(self.model.config, other.config)
        self.model.load_state_dict(other.state_dict())

    @torch.no_grad()
    def _start_from(self, folder: Path) -> None:
        """Take over a continuous autoencoder: its posterior mean, scaled to unit variance, is the latent."""
        kl = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
        width, scale = self.settings.code_width, kl.config.scaling_factor
        if (tuple(kl.config.block_out_channels), kl.config.latent_channels) != (self.settings.channels, width):
            raise InputError(f"needs.initial has channels {list(kl.config.block_out_channels)} and "
                             f"{kl.config.latent_channels} latent channels; the preset says "
                             f"{list(self.settings.channels)} and {width}")
        state = kl.encoder.state_dict()
        mean = kl.quant_conv.weight[:width, :, 0, 0]  # the layer mixes 2 D channels; its mean half is folded in
        state["conv_out.weight"] = torch.einsum("dc,cijk->dijk", mean, state["conv_out.weight"]) * scale
        state["conv_out.bias"] = (mean @ state["conv_out.bias"] + kl.quant_conv.bias[:width]) * scale
        self.model.encoder.load_state_dict(state)
        self.model.decoder.load_state_dict(kl.decoder.state_dict())
        self.model.quant_conv.weight.copy_(torch.eye(width)[:, :, None, None])
        self.model.quant_conv.bias.zero_()
        self.model.post_quant_conv.weight.copy_(kl.post_quant_conv.weight / scale)
        self.model.post_quant_conv.bias.copy_(kl.post_quant_conv.bias)

    @torch.no_grad()
    def _some_latents(self, n: int = 128) -> torch.Tensor:
        pixels = self.resized(self.splits["train"].pixels[:: max(1, len(self) // n)][:n])
        return torch.cat([flat(self.model.encode(part.to(self.device)).latents) for part in pixels.split(32)])

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"tokenizer": self.model, "use": self.use, "discriminator": self.discriminator}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        crop, codes = self.settings.crop, self.settings.codes
        batch = {"pixels": self.crops(rows, generator),
                 "chosen": torch.randint(2**31, (codes,), generator=generator)}
        if self.settings.quantiser == "gumbel":
            side = crop // 2 ** (len(self.settings.channels) - 1)
            uniform = torch.rand(len(rows) * side * side, codes, generator=generator)
            batch["gumbel"] = -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))
        return {name: value.to(self.device) for name, value in batch.items()}

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        settings, real = self.settings, batch["pixels"]
        adversarial = self.joined(progress)
        if player == "discriminator":
            return self.discriminator_losses(real, adversarial)
        latents = self.model.encode(real).latents
        rows = flat(latents)
        losses: Losses = {}
        if settings.quantiser == "gumbel":
            quantised, losses = self._gumbel(rows, batch["gumbel"], progress)
        else:
            quantised, losses = self._nearest(rows)
        n, width, height, columns = latents.shape
        quantised = quantised.view(n, height, columns, width).permute(0, 3, 1, 2).contiguous()
        fake = self.model.decoder(self.model.post_quant_conv(quantised)).float()
        difference = fake - real
        losses["mse" if settings.reconstruction == "mse" else "l1"] = (
            difference.square().mean() if settings.reconstruction == "mse" else difference.abs().mean())
        if settings.perceptual_weight:
            losses["perceptual"] = settings.perceptual_weight * self.perception(fake, real)
        if adversarial:
            losses["adversarial"] = -settings.adversarial_weight * self.discriminator(fake).mean()
        if settings.revive_below and progress < settings.revive_until:
            self.use.revive(self.codebook.data, rows.detach(), batch["chosen"], settings.revive_below)
        self._fake = fake.detach()
        return losses

    def _nearest(self, rows: torch.Tensor) -> tuple[torch.Tensor, Losses]:
        quantised, codebook, commitment = quantize(rows, self.codebook, self.use)
        return quantised, {"codebook": self.settings.codebook_weight * codebook,
                           "commitment": self.settings.commitment_weight * commitment}

    def _gumbel(self, rows: torch.Tensor, noise: torch.Tensor, progress: float) -> tuple[torch.Tensor, Losses]:
        first, last = self.settings.temperature
        temperature = first * (last / first) ** min(progress, 1.0)
        logits = -_squared_distances(rows, self.codebook)
        self.use.count(logits.argmax(1))
        log_share = logits.log_softmax(1)
        to_uniform = (log_share.exp() * (log_share + np.log(logits.shape[1]))).sum(1).mean()
        weights = ((logits + noise) / temperature).softmax(1)
        return weights @ self.codebook, {"prior": self.settings.prior_weight * to_uniform}

    @override
    def reconstruct(self, pixels: torch.Tensor) -> torch.Tensor:
        return decode_tokens(self.model, encode_pictures(self.model, pixels))

    @override
    def validate(self) -> dict[str, float]:
        real = self.resized(self.splits["val"].pixels)
        tokens = encode_pictures(self.model, real)
        counts = torch.bincount(tokens.flatten(), minlength=self.settings.codes)
        return {**self.fidelity(decode_tokens(self.model, tokens), real), "perplexity": perplexity(counts),
                "codes_used": float((counts > 0).sum()), "n": float(len(real))}


def _class_name(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_class_name", ""))


def quantize(rows: torch.Tensor, codebook: torch.Tensor, use: CodeUse) -> tuple[torch.Tensor, ...]:
    """Nearest codes with the gradient of what they replace (van den Oord et al., NeurIPS 2017, section 3.2).

    Args:
        rows: Encoded, float (N, D).
        codebook: Float (K, D).

    Returns:
        Codes float (N, D), by which the gradient goes straight to `rows`; and two scalars, the mean squared distance
        that moves the codes alone, and the one that moves the rows alone (equation 3).
    """
    indices = nearest_codes(rows.detach(), codebook.detach())
    use.count(indices)
    codes = F.embedding(indices, codebook)
    return (rows + (codes - rows).detach(), (codes - rows.detach()).square().mean(),
            (rows - codes.detach()).square().mean())


def flat(latents: torch.Tensor) -> torch.Tensor:
    """(N, D, h, w) -> float32 (N h w, D), row by row of each image."""
    return latents.permute(0, 2, 3, 1).flatten(0, 2).float()


@torch.no_grad()
def encode_pictures(model: VQModel, pixels: torch.Tensor, batch: int = 32, mixed: bool = True) -> torch.Tensor:
    """Token ids int64 (N, h, w), on the CPU, of what a tokenizer reads, such as images float32 (N, 3, S, S) in [-1, 1].

    Args:
        batch: Images at once.
        mixed: Compute in bfloat16 up to the choice of the code.
    """
    codebook, parts = model.quantize.embedding.weight, []
    for part in pixels.split(batch):
        with torch.autocast(codebook.device.type, torch.bfloat16) if mixed else nullcontext():
            latents = model.encode(part.to(codebook.device)).latents
        n, _, rows, columns = latents.shape
        parts.append(nearest_codes(flat(latents), codebook).view(n, rows, columns).cpu())
    return torch.cat(parts)


def decode_tokens(model: VQModel, tokens: torch.Tensor, batch: int = 32) -> torch.Tensor:
    """Images float32 (N, 3, S, S) in [-1, 1], on the CPU, for token ids int64 (N, h, w)."""
    return decode_codes(model, tokens, batch).clamp(-1, 1)


@torch.no_grad()
def decode_codes(model: VQModel, tokens: torch.Tensor, batch: int = 32, mixed: bool = True) -> torch.Tensor:
    """What the decoder gives, float32 on the CPU, for token ids int64 (N, h, w); `mixed` computes in bfloat16."""
    codebook, parts = model.quantize.embedding.weight, []
    for part in tokens.split(batch):
        codes = codebook[part.to(codebook.device)].permute(0, 3, 1, 2).contiguous()
        with torch.autocast(codebook.device.type, torch.bfloat16) if mixed else nullcontext():
            decoded = model.decoder(model.post_quant_conv(codes))
        parts.append(decoded.float().cpu())
    return torch.cat(parts)
