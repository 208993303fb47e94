"""An autoencoder of our own that speaks a published one's latent space (knowledge distillation, Hinton et al., 2015).

The encoder learns the teacher's latents, the decoder the teacher's images of them, so that whatever was made for that
latent space fits. Regression alone gives the mean of what is possible, which is a blur; a second training with a
conditional discriminator (Isola et al., CVPR 2017; hinge loss and spectral normalization of Miyato et al., ICLR 2018)
brings the fine half of the spectrum back. The teacher's images count as the true ones there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from typing_extensions import override

from terrasynth.eval.metrics.realism import compare_spectra
from terrasynth.training.data.how_far import HowFar
from terrasynth.training.data.latent_cache import TensorCache, cache_key
from terrasynth.training.data.latent_views import LatentViews, ViewSettings, load_autoencoder, to_latents, to_pixels
from terrasynth.training.data.pictures import to_bytes, to_channels_last, to_float
from terrasynth.training.data.views import Pictures, spread
from terrasynth.training.errors import InputError
from terrasynth.training.families.adversarial import AdversarialTask
from terrasynth.training.families.perception import LatentDiscriminator, hinge_loss
from terrasynth.training.running.same_shape import check_same_shape
from terrasynth.training.running.sheets import tile
from terrasynth.training.running.task import Losses

SHARD = 64
MOST_NOISE = 0.4  # deviation of what is added to latents, whose own is about 0.65
CELL = 8  # pixels of an image per latent


class AutoencoderDistilSettings(BaseModel):
    """What a preset may set about distilling an autoencoder.

    Attributes:
        views: How training images are seen.
        crop: Side in pixels of what one step looks at; a multiple of 8.
        margin: Outer pixels of a crop that the losses leave out, since the teacher saw beyond them. Where a crop ends
            at the image's own edge it saw no more, so that they count there, and twice as many opposite do not.
        channels: Width of both halves, at every resolution.
        encoder_blocks: Residual blocks of the encoder, from full to an eighth of the resolution.
        decoder_blocks: Residual blocks of the decoder, from an eighth to full resolution.
        mixed_share: Share of the decoder's targets whose latents are noised or mixed, since generated latents are not
            quite real ones.
        l1_weight: Weight of the mean absolute difference to the teacher's image.
        mean_weight: Weight of the same for means over 4 x 4 pixels.
        latent_weight: Weight of the encoder's mean squared difference to the teacher's latents; 0 leaves the encoder
            as it is.
        adversarial_weight: Weight of the discriminator's verdict; 0 for a regression to the end.
        adversarial_start: Share of the training after which the discriminator joins.
        discriminator_rate: Learning rate of the discriminator in units of the autoencoder's.
        val_images: Images of `val` that checkpoints are judged by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    views: ViewSettings = ViewSettings()
    crop: int = Field(default=64, gt=0, multiple_of=CELL)
    margin: int = Field(default=8, ge=0, multiple_of=CELL)
    channels: int = Field(default=48, gt=0)
    encoder_blocks: tuple[int, int, int, int] = (1, 2, 3, 3)
    decoder_blocks: tuple[int, int, int, int] = (4, 4, 3, 1)
    mixed_share: float = Field(default=0.3, ge=0, le=1)
    l1_weight: float = 4.0
    mean_weight: float = 2.0
    latent_weight: float = 1.0
    adversarial_weight: float = Field(default=0.05, ge=0)
    adversarial_start: float = Field(default=0.6, ge=0, lt=1)
    discriminator_rate: float = Field(default=2.0, gt=0)
    val_images: int = Field(default=128, gt=0)


class AutoencoderDistilTask(AdversarialTask):
    """A student `AutoencoderTiny` from random weights, or further from `initial`, and its discriminator.

    Args:
        cache: Folder for the teacher's outputs, which are made once.
        initial: Folder of a student of the same shape to go on from.

    Raises:
        InputError: A crop does not fit, `initial` has another shape, or the teacher is no 8-fold autoencoder.
    """

    players = ("autoencoder", "discriminator")  # in this order, so that the second sees what the first has drawn

    def __init__(self, splits: dict[str, Pictures], settings: AutoencoderDistilSettings, device: torch.device,
                 teacher: Path, cache: Path, initial: Path | None = None) -> None:
        if settings.crop > settings.views.size or settings.crop <= 2 * settings.margin:
            raise InputError(f"model.crop {settings.crop} has to be more than twice model.margin {settings.margin} and "
                             f"at most model.views.size {settings.views.size}")
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.views.size
        probe = torch.zeros(1, 3, settings.views.size, settings.views.size, device=device)
        channels, side = to_latents(load_autoencoder(teacher, device), probe).shape[1:3]
        if side * CELL != settings.views.size:
            raise InputError(f"the teacher makes {side} latents of {settings.views.size} pixels; one that is 8 times "
                             "smaller is needed, such as those of Stable Diffusion")
        self.views = LatentViews(splits["train"], settings.views, teacher, cache, device)
        self.model = AutoencoderTiny(
            encoder_block_out_channels=(settings.channels,) * 4, num_encoder_blocks=settings.encoder_blocks,
            decoder_block_out_channels=(settings.channels,) * 4, num_decoder_blocks=settings.decoder_blocks,
            latent_channels=channels,
        )
        if initial is not None:
            other = AutoencoderTiny.from_pretrained(initial, torch_dtype=torch.float32)
            check_same_shape(self.model.config, other.config)
            self.model.load_state_dict(other.state_dict())
        to_channels_last(self.model, device)
        if not settings.latent_weight:
            self.model.encoder.requires_grad_(False)
        self.discriminator = LatentDiscriminator(channels).to(device)
        self._progress = 0.0
        key = cache_key(views=self.views.key, mixed=settings.mixed_share)
        self._teacher = teacher
        self.targets = TensorCache(cache / f"decoded-{key}", len(splits["train"]), SHARD)
        self._far = HowFar("decoding {} images with the teacher", "decoded")
        self.targets.make(self._decode, self._far)
        self.val_pixels, self.val_latents, self.val_targets = self._val(teacher)

    def _decode(self, rows: range) -> dict[str, torch.Tensor]:
        """The teacher's images of one view of each training image: as it is, noised, or mixed with another."""
        teacher = load_autoencoder(self._teacher, self.device)
        latents = torch.stack([disturbed(self.views.cache, row, self.settings) for row in rows])
        decoded = to_pixels(teacher, latents.to(self.device)).clamp(-1, 1)
        self._far.add(len(rows))
        return {"latents": latents.half(), "pixels": to_bytes(decoded.cpu())}

    @torch.no_grad()
    def _val(self, teacher: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        model = load_autoencoder(teacher, self.device)
        val = self.splits["val"]
        shown = val.open(spread(len(val), self.settings.val_images), self.size)
        pixels = to_float(torch.from_numpy(shown).permute(0, 3, 1, 2))
        latents = torch.cat([to_latents(model, part.to(self.device)).cpu() for part in pixels.split(16)])
        targets = torch.cat([to_pixels(model, part.to(self.device)).cpu() for part in latents.split(16)])
        return pixels, latents, targets.clamp(-1, 1)

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"autoencoder": self.model, "discriminator": self.discriminator}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        cells, room = self.settings.crop // CELL, self.size // CELL
        parts: dict[str, list[torch.Tensor]] = {"latents": [], "target": [], "pixels": [], "code": []}
        windows: dict[str, list[list[int]]] = {"drawn_at": [], "seen_at": []}
        for row in rows.tolist():
            view = int(torch.randint(self.settings.views.count, (1,), generator=generator))
            places = torch.randint(room - cells + 1, (4,), generator=generator).tolist()
            looks = self._windows(places, generator)
            seen, drawn = self.views.cache.read(row, view), self.targets.read(row)
            windows["drawn_at"].append(looks[:2])
            windows["seen_at"].append(looks[2:])
            for source, (top, left), (code, pixels) in ((drawn, places[:2], ("latents", "target")),
                                                        (seen, places[2:], ("code", "pixels"))):
                parts[code].append(source["latents"][:, top:top + cells, left:left + cells].float())
                part = source["pixels"][CELL * top:CELL * (top + cells), CELL * left:CELL * (left + cells)]
                parts[pixels].append(to_float(part.permute(2, 0, 1)))
        images = {name: torch.stack(values).to(self.device, memory_format=torch.channels_last)
                  for name, values in parts.items()}
        return images | {name: torch.tensor(values) for name, values in windows.items()}

    def _windows(self, places: Sequence[int], generator: torch.Generator) -> list[int]:
        """Where, in cells, the losses begin to look in a crop that begins at each of some places along an axis."""
        edge, last = self.settings.margin // CELL, (self.size - self.settings.crop) // CELL
        sides = torch.randint(2, (len(places),), generator=generator).tolist()  # of a crop that is the whole image
        return [2 * edge * side if not last else {0: 0, last: 2 * edge}.get(place, edge)
                for place, side in zip(places, sides, strict=True)]

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        settings, self._progress = self.settings, progress
        if player == "discriminator":
            if not self._adversarial or self._fake is None:
                return {}
            real = self.discriminator(self._inner(batch["target"], batch["drawn_at"]), self._code(batch))
            fake = self.discriminator(self._fake, self._code(batch))
            return {f"hinge_{name}": hinge_loss(r, f)
                    for name, r, f in zip(("patch", "texture"), real, fake, strict=True)}
        drawn = self._inner(self.model.decode(batch["latents"]).sample, batch["drawn_at"])
        target = self._inner(batch["target"], batch["drawn_at"])
        losses = {
            "l1": settings.l1_weight * (drawn - target).abs().mean(),
            "mean": settings.mean_weight * (F.avg_pool2d(drawn, 4) - F.avg_pool2d(target, 4)).abs().mean(),
        }
        if settings.latent_weight:
            code = self._inner(self.model.encode(batch["pixels"]).latents, batch["seen_at"], 1)
            losses["latents"] = settings.latent_weight * F.mse_loss(
                code, self._inner(batch["code"], batch["seen_at"], 1))
        if self._adversarial:
            verdicts = self.discriminator(drawn, self._code(batch))
            losses["adversarial"] = -settings.adversarial_weight * (verdicts[0].mean() + verdicts[1].mean())
            self._fake = drawn.detach()
        return losses

    @property
    def _adversarial(self) -> bool:
        return self.joined(self._progress)

    def _code(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self._inner(batch["latents"], batch["drawn_at"], 1)

    def _inner(self, crops: torch.Tensor, at: torch.Tensor, cell: int = CELL) -> torch.Tensor:
        """The part of each crop (N, C, S, S) that the losses look at, from cell `at` (N, 2), row before column, on."""
        side = (self.settings.crop - 2 * self.settings.margin) // CELL * cell
        return torch.stack([crop[:, cell * top:cell * top + side, cell * left:cell * left + side]
                            for crop, (top, left) in zip(crops, at.tolist(), strict=True)])

    @override
    def validate(self) -> dict[str, float]:
        """Distance to the teacher, as PSNR in dB, of decoded `val` latents; and how far the spectrum falls short."""
        latents = torch.cat([to_latents(self.model, part.to(self.device)).cpu() for part in self.val_pixels.split(16)])
        drawn = torch.cat([to_pixels(self.model, part.to(self.device)).cpu() for part in self.val_latents.split(16)])
        own = torch.cat([to_pixels(self.model, part.to(self.device)).cpu() for part in latents.split(16)])
        rows = slice(None, None, max(1, len(drawn) // 8))
        self.drawn = torch.cat([sheet[rows][:8].clamp(-1, 1)
                                for sheet in (self.val_pixels, self.val_targets, drawn, own)])
        figures = {
            "psnr_teacher": _psnr(drawn, self.val_targets), "psnr_real": _psnr(own, self.val_pixels),
            "latents_mse": F.mse_loss(latents, self.val_latents).item(), "n": float(len(drawn)),
            "fine_db": compare_spectra(to_bytes(drawn).numpy(), to_bytes(self.val_targets).numpy()).fine,
        }
        # With an adversary the distance rises while the images get better, so the last state is the one to keep.
        return figures if self._adversarial else figures | {"score": figures["psnr_teacher"]}

    @override
    def preview(self) -> np.ndarray | None:
        return tile(self.drawn, columns=min(8, len(self.drawn) // 4))



def disturbed(cache: TensorCache, row: int, settings: AutoencoderDistilSettings) -> torch.Tensor:
    """Latents float32 (C, h, w) of one view of a training image; a pure function of (row, settings).

    A share of them is noised, a third of which mixed with latents of another image on one side of a straight cut.
    """
    random = torch.Generator().manual_seed(settings.views.seed * 1_000_003 + row)
    view = int(torch.randint(settings.views.count, (1,), generator=random))
    latents = cache.read(row, view)["latents"].float()
    chance, mix, strength = torch.rand(3, generator=random).tolist()
    if chance >= settings.mixed_share:
        return latents
    if mix < 1 / 3:
        other = row // SHARD * SHARD + int(torch.randint(row % SHARD + 1, (1,), generator=random))
        cut = int(torch.randint(1, latents.shape[-1], (1,), generator=random))
        latents[..., cut:] = cache.read(other, view)["latents"].float()[..., cut:]
        return latents
    noised: torch.Tensor = latents + MOST_NOISE * strength * torch.randn(latents.shape, generator=random)
    return noised


def _psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((10 * torch.log10(4 / (a.clamp(-1, 1) - b).square().mean((1, 2, 3)))).mean())
