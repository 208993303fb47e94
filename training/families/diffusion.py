"""The text-conditioned latent diffusion model (Rombach et al., CVPR 2022, section 3.3).

v-prediction (Salimans & Ho, ICLR 2022, appendix D) with min-SNR weighting (Hang et al., ICCV 2023, equation 8 for v),
and captions dropped so that classifier-free guidance (Ho & Salimans, 2022) has a trained null. Class and ground
sampling distance are said behind the caption and dropped each for itself, so the model draws with and without them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from pydantic import Field, model_validator
from torch import nn
from typing_extensions import override

from terrasynth.synthesis.core.sampling import Sampling
from terrasynth.training.data.latent_views import LatentViews, ViewSettings, load_autoencoder, to_latents, to_pixels
from terrasynth.training.data.pictures import to_float
from terrasynth.training.data.view_texts import TextSettings, ViewTexts
from terrasynth.training.data.views import Pictures, spread
from terrasynth.training.errors import InputError
from terrasynth.training.families.caption_tokenizer import encode, train_tokenizer
from terrasynth.training.families.groups import check_groups
from terrasynth.training.running.drawing import draw_captions
from terrasynth.training.running.same_shape import check_same_shape
from terrasynth.training.running.saving import contiguous_copy
from terrasynth.training.running.sheets import tile
from terrasynth.training.running.task import Losses, Task

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

log = logging.getLogger("terrasynth")
NOISE_SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
                  "beta_end": 0.012, "prediction_type": "v_prediction"}  # betas of Stable Diffusion 1 and 2
STEPS = 20  # that a model says it wants
DRAWN = 8  # pixels of which pipelines of diffusers draw multiples alone
LEVELS = (100, 300, 500, 700, 900)
"""Timesteps that the loss on `val` is measured at."""


class DiffusionSettings(TextSettings):
    """What a preset may set about the diffusion model, beside its texts.

    Attributes:
        views: How training images are seen.
        channels: Width of the U-Net at each resolution.
        attention: Whether each resolution has self- and cross-attention.
        layers_per_block: Residual blocks of each resolution.
        heads: Attention heads of the U-Net.
        groups: Groups of the U-Net's normalization.
        text_width: Width of the text encoder.
        text_layers: Layers of the text encoder.
        vocabulary: Tokens that its tokenizer may use.
        tokens: Longest text in tokens, start and end included.
        snr_gamma: Largest signal-to-noise ratio that counts in the loss; None for equal weights.
        val_images: Images of `val` that the loss is measured on.
        preview: Captions of `val` that are drawn for a look.
        val_steps: Steps that they are drawn in.
        guidance: Guidance scale that they are drawn with, and that the model says it wants.
    """

    views: ViewSettings = ViewSettings()
    channels: tuple[int, ...] = (128, 224)
    attention: tuple[bool, ...] = (False, True)
    layers_per_block: int = 1
    heads: int = 4
    groups: int = 32
    text_width: int = 256
    text_layers: int = 2
    vocabulary: int = 2048
    tokens: int = 40
    snr_gamma: float | None = Field(default=5.0, gt=0)
    val_images: int = Field(default=256, gt=0)
    preview: int = Field(default=45, ge=0)
    val_steps: int = Field(default=12, gt=0)
    guidance: float = 3.0

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        check_groups(self.groups, *self.channels)
        return self


class DiffusionTask(Task):
    """U-Net and text encoder trained together on cached latents; on `val` the last state is kept.

    The loss on `val` is lowest long before the images are best, so no checkpoint is chosen by it.

    Args:
        autoencoder: Folder of the autoencoder that is saved with the model and draws previews.
        cache: Folder for latents, which are made once.
        encoder: Folder of the autoencoder that makes the latents; None for `autoencoder`. A published one that
            `autoencoder` was distilled from gives the truer latents.
        initial: Folder of a `StableDiffusionPipeline` of the same shape to go on from, tokenizer included.

    Raises:
        InputError: `initial` has another shape, or `encoder` another latent space than `autoencoder`.
    """

    def __init__(self, splits: dict[str, Pictures], settings: DiffusionSettings, device: torch.device,
                 autoencoder: Path, cache: Path, encoder: Path | None = None, initial: Path | None = None) -> None:
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.views.size
        self.vae = load_autoencoder(autoencoder, device)
        self.vae.register_to_config(_name_or_path="")  # where it lay on this machine is nobody's business
        own = self.vae if encoder is None else load_autoencoder(encoder, device)
        channels, side = check_latents(own, self.vae, self.size)
        self.texts = ViewTexts(splits["train"].pairs, settings.views, settings)
        every = self.texts.vocabulary()
        self.tokenizer = train_tokenizer(every, settings.vocabulary, settings.tokens)
        self.text_encoder = text_encoder(self.tokenizer, settings)
        nn.Module.to(self.text_encoder, device)
        self.unet = UNet2DConditionModel(
            sample_size=side, in_channels=channels, out_channels=channels,
            block_out_channels=settings.channels, layers_per_block=settings.layers_per_block,
            down_block_types=["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in settings.attention],
            up_block_types=["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(settings.attention)],
            cross_attention_dim=settings.text_width, attention_head_dim=settings.heads, norm_num_groups=settings.groups,
        ).to(device, memory_format=torch.channels_last)
        if initial is not None:
            self._go_on_from(initial)
        tell_of_cut(self.tokenizer, every, settings.tokens)
        self.noise_schedule = DDPMScheduler(**NOISE_SCHEDULE)
        self.latents = LatentViews(splits["train"], settings.views, encoder or autoencoder, cache, device).all_latents()
        self.val_latents, self.val_texts = self._val(own)

    def _go_on_from(self, folder: Path) -> None:
        from transformers import CLIPTextModel, CLIPTokenizer

        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        check_same_shape(self.unet.config, unet.config)
        check_same_shape(self.text_encoder.config, text_encoder.config, (
            "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "max_position_embeddings"))
        self.unet.load_state_dict(unet.state_dict())
        self.text_encoder.load_state_dict(text_encoder.state_dict())
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")

    def _val(self, encoder: Any) -> tuple[torch.Tensor, list[str]]:  # noqa: ANN401 - diffusers is untyped
        """Latents (M, C, h, w) and texts of some images of `val`, whole and upright."""
        val = self.splits["val"]
        rows = spread(len(val), self.settings.val_images)
        pixels = to_float(torch.from_numpy(val.open(rows, self.size)).permute(0, 3, 1, 2))
        latents = torch.cat([to_latents(encoder, part.to(self.device)).cpu() for part in pixels.split(16)])
        whole = self.settings.views.model_copy(update={"count": 1})
        texts = ViewTexts([val.pairs[row] for row in rows], whole, self.settings)
        return latents, [texts.of(number, 0) for number in range(len(rows))]

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"unet": self.unet, "text_encoder": self.text_encoder}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        n = len(rows)
        views = torch.randint(self.settings.views.count, (n,), generator=generator)
        latents = self.latents[rows, views].float()
        chances = torch.rand(n, 4, generator=generator).tolist()
        texts = [self.texts.drawn(row, view, chance)
                 for row, view, chance in zip(rows.tolist(), views.tolist(), chances, strict=True)]
        return {
            "latents": latents.to(self.device),
            "noise": torch.randn(latents.shape, generator=generator).to(self.device),
            "timesteps": torch.randint(1000, (n,), generator=generator).to(self.device),
            "input_ids": torch.tensor(encode(self.tokenizer, texts)["input_ids"]).to(self.device),
        }

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        timesteps = batch["timesteps"]
        predicted, target = self._predict(batch["latents"], batch["noise"], timesteps, batch["input_ids"])
        squared = (predicted - target).square().mean((1, 2, 3))
        if self.settings.snr_gamma is not None:
            snr = compute_snr(self.noise_schedule, timesteps)
            squared = squared * snr.clamp(max=self.settings.snr_gamma) / (snr + 1)
        return {"v": squared.mean()}

    def _predict(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor,
                 input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        noisy = self.noise_schedule.add_noise(latents, noise, timesteps)
        target = self.noise_schedule.get_velocity(latents, noise, timesteps)
        text = self.text_encoder(input_ids)[0]
        predicted: torch.Tensor = self.unet(noisy, timesteps, text, return_dict=False)[0].float()
        return predicted, target

    def pipeline(self, dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
        """A `StableDiffusionPipeline` of copies of the networks as they are now."""
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline(
            vae=contiguous_copy(self.vae, dtype), text_encoder=contiguous_copy(self.text_encoder, dtype),
            tokenizer=self.tokenizer, unet=contiguous_copy(self.unet, dtype),
            scheduler=DPMSolverMultistepScheduler(**NOISE_SCHEDULE), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @torch.no_grad()
    @override
    def validate(self) -> dict[str, float]:
        """Mean squared error of v on `val` at fixed noise, by level and over all; without a score, the last is kept."""
        noise = torch.randn(self.val_latents.shape, generator=torch.Generator().manual_seed(0))
        ids = torch.tensor(encode(self.tokenizer, self.val_texts)["input_ids"])
        figures = {}
        for level in LEVELS:
            errors = []
            for part in torch.arange(len(noise)).split(64):
                predicted, target = self._predict(
                    self.val_latents[part].to(self.device), noise[part].to(self.device),
                    torch.full((len(part),), level, device=self.device), ids[part].to(self.device))
                errors.append((predicted - target).square().mean((1, 2, 3)).cpu())
            figures[f"v_{level}"] = torch.cat(errors).mean().item()
        return {"loss": float(np.mean(list(figures.values()))), **figures, "n": float(len(noise))}

    @override
    def preview(self) -> np.ndarray | None:
        if not self.settings.preview:
            return None
        texts = [self.val_texts[row] for row in spread(len(self.val_texts), self.settings.preview)]
        drawn = draw_captions(self.pipeline(), texts, self.device, num_inference_steps=self.settings.val_steps,
                              guidance_scale=self.settings.guidance)
        return tile(drawn, columns=9)

    @override
    def save(self, folder: Path) -> None:
        self.pipeline(torch.float16).save_pretrained(folder, safe_serialization=True)
        self.settings.conditioning.save(folder)
        Sampling(steps=STEPS, guidance=self.settings.guidance).save(folder)


def check_latents(encoder: Any, decoder: Any, size: int) -> tuple[int, int]:  # noqa: ANN401 - diffusers is untyped
    """Channels and side of the latents of images of `size` pixels, which the decoder has to read.

    Raises:
        InputError: It does not, or makes images of another size of them.
    """
    device = decoder.device
    made = to_latents(encoder, torch.zeros(1, 3, size, size, device=device))
    channels, side = int(made.shape[1]), int(made.shape[2])
    if int(decoder.config.latent_channels) != channels:
        raise InputError(f"needs.encoder makes latents of {channels} channels, and needs.autoencoder reads "
                         f"{decoder.config.latent_channels}; give two of one latent space")
    drawn = to_pixels(decoder, made).shape[-1]
    if drawn != size:
        raise InputError(f"needs.autoencoder makes images of {drawn} pixels from the latents of {size} pixels; set "
                         "model.views.size to a multiple of its cells, and give a needs.encoder of its latent space")
    if size % DRAWN:
        raise InputError(f"model.views.size {size} is no multiple of {DRAWN}, which diffusers draws alone; use "
                         f"{max(1, round(size / DRAWN)) * DRAWN}")
    return channels, side


def tell_of_cut(tokenizer: Any, texts: Sequence[str], most: int) -> int:  # noqa: ANN401 - transformers' own types
    """Count texts that are longer than the model reads, and say so: what stands last is class and distance."""
    long = [text for text in texts if len(tokenizer(text)["input_ids"]) > most]
    if long:
        log.warning("%d of %d texts have more than model.tokens %d tokens and lose their end, such as %r; set "
                    "model.tokens higher", len(long), len(texts), most, long[0][:100])
    return len(long)


def text_encoder(tokenizer: Any, settings: DiffusionSettings) -> Any:  # noqa: ANN401 - transformers' own types
    """A small CLIP text encoder of random weights that reads what `tokenizer` writes."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=settings.text_width, intermediate_size=4 * settings.text_width,
        num_hidden_layers=settings.text_layers, num_attention_heads=4, max_position_embeddings=settings.tokens,
        projection_dim=settings.text_width, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    ))
