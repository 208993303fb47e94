"""The text-conditioned latent diffusion model (Rombach et al., CVPR 2022, section 3.3).

v-prediction (Salimans & Ho, ICLR 2022, appendix D) with min-SNR weighting (Hang et al., ICCV 2023, equation 8 for v),
and captions dropped so that classifier-free guidance (Ho & Salimans, 2022) has a trained null.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import nn
from typing_extensions import override

from training.drawing import draw_captions, judge_captions, known_classes
from training.going_on import check_same_shape
from training.loop import Losses, Task
from training.pictures import PictureSet, random_dihedral, to_float
from training.sheets import tile
from training.tokenizer import encode, train_tokenizer

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

NOISE_SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
                  "beta_end": 0.012, "prediction_type": "v_prediction"}  # betas of Stable Diffusion 1 and 2


class DiffusionSettings(BaseModel):
    """What a preset may set about the diffusion model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = 128
    channels: tuple[int, ...] = (128, 224)
    attention: tuple[bool, ...] = (False, True)
    layers_per_block: int = 1
    heads: int = 4
    groups: int = 32
    text_width: int = 256
    text_layers: int = 2
    vocabulary: int = 1280
    tokens: int = 32
    caption_dropout: float = 0.12
    snr_gamma: float = 5.0
    val_pictures: int = 63
    val_steps: int = 12
    guidance: float = 3.0


class DiffusionTask(Task):
    """U-Net and text encoder trained together on cached latents, flipped and turned at random.

    Turning a latent is turning its picture because the autoencoder was trained so (`training.autoencoder`).

    Args:
        splits: Pictures at the size that the autoencoder reads.
        settings: See `DiffusionSettings`.
        device: Where the networks are.
        autoencoder: Folder of an `AutoencoderKL`.
        classifier: Folder of the scene classifier that judges pictures drawn for `val`.
        cache: File of encoded pictures; written where it is missing.
        initial: Folder of a `StableDiffusionPipeline` of the same shape to go on from, tokenizer included.

    Raises:
        InputError: `initial` has another shape.
    """

    def __init__(self, splits: dict[str, PictureSet], settings: DiffusionSettings, device: torch.device,
                 autoencoder: Path, classifier: Path, cache: Path | None = None, initial: Path | None = None) -> None:
        from transformers import AutoModelForImageClassification, CLIPTextConfig, CLIPTextModel

        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.size
        self.vae = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32)
        self.vae.register_to_config(_name_or_path="")  # where it lay on this machine is nobody's business
        self.vae.to(device).eval().requires_grad_(False)
        self.classifier = AutoModelForImageClassification.from_pretrained(classifier, dtype=torch.float32)
        self.classifier.to(device).eval().requires_grad_(False)
        known_classes(splits["val"], self.classifier)  # before anything is trained
        texts = [caption for captions in splits["train"].captions for caption in captions]
        self.tokenizer = train_tokenizer(texts, settings.vocabulary, settings.tokens)
        self.text_encoder = CLIPTextModel(CLIPTextConfig(
            vocab_size=len(self.tokenizer), hidden_size=settings.text_width, intermediate_size=4 * settings.text_width,
            num_hidden_layers=settings.text_layers, num_attention_heads=4, max_position_embeddings=settings.tokens,
            projection_dim=settings.text_width, bos_token_id=self.tokenizer.bos_token_id,
            eos_token_id=self.tokenizer.eos_token_id, pad_token_id=self.tokenizer.pad_token_id,
        ))
        nn.Module.to(self.text_encoder, device)
        self.unet = UNet2DConditionModel(
            sample_size=settings.size // 2 ** (len(self.vae.config.block_out_channels) - 1),
            in_channels=self.vae.config.latent_channels, out_channels=self.vae.config.latent_channels,
            block_out_channels=settings.channels, layers_per_block=settings.layers_per_block,
            down_block_types=["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in settings.attention],
            up_block_types=["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(settings.attention)],
            cross_attention_dim=settings.text_width, attention_head_dim=settings.heads, norm_num_groups=settings.groups,
        ).to(device)
        if initial is not None:
            self._go_on_from(initial)
        self.noise_schedule = DDPMScheduler(**NOISE_SCHEDULE)
        self.mean, self.std = self._latents(cache)
        self.drawn: torch.Tensor | None = None

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

    @override
    def __len__(self) -> int:
        return len(self.splits["train"])

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"unet": self.unet, "text_encoder": self.text_encoder}

    @torch.no_grad()
    def _latents(self, cache: Path | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Posterior mean and deviation, float16 (N, C, S/8, S/8), of the training pictures; read from `cache`."""
        if cache is not None and cache.is_file():
            stored = load_file(cache)
            return stored["mean"], stored["std"]
        pixels = F.interpolate(to_float(self.splits["train"].pixels), self.size, mode="area")
        means, stds = [], []
        for part in pixels.split(32):
            with torch.autocast(self.device.type, torch.bfloat16):
                posterior = self.vae.encode(part.to(self.device)).latent_dist
            means.append((posterior.mean * self.vae.config.scaling_factor).half().cpu())
            stds.append((posterior.std * self.vae.config.scaling_factor).half().cpu())
        mean, std = torch.cat(means), torch.cat(stds)
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            save_file({"mean": mean, "std": std}, cache)
        return mean, std

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        n = len(rows)
        mean, std = self.mean[rows].float(), self.std[rows].float()
        latents = random_dihedral(mean + std * torch.randn(mean.shape, generator=generator), generator)
        captions = []
        for row in rows.tolist():
            own = self.splits["train"].captions[row]
            chosen = own[int(torch.randint(len(own), (1,), generator=generator))]
            dropped = torch.rand(1, generator=generator).item() < self.settings.caption_dropout
            captions.append("" if dropped else chosen)
        return {
            "latents": latents.to(self.device),
            "noise": torch.randn(mean.shape, generator=generator).to(self.device),
            "timesteps": torch.randint(1000, (n,), generator=generator).to(self.device),
            "input_ids": torch.tensor(encode(self.tokenizer, captions)["input_ids"]).to(self.device),
        }

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        return {"v": self._loss(batch)}

    def _loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = self.noise_schedule.add_noise(latents, noise, timesteps)
        target = self.noise_schedule.get_velocity(latents, noise, timesteps)
        text = self.text_encoder(batch["input_ids"])[0]
        predicted = self.unet(noisy, timesteps, text, return_dict=False)[0].float()
        snr = compute_snr(self.noise_schedule, timesteps)
        weight = snr.clamp(max=self.settings.snr_gamma) / (snr + 1)
        loss: torch.Tensor = (weight * (predicted - target).square().mean((1, 2, 3))).mean()
        return loss

    def pipeline(self, dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
        """A `StableDiffusionPipeline` of copies of the networks as they are now."""
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline(
            vae=copy.deepcopy(self.vae).to(dtype), text_encoder=nn.Module.to(copy.deepcopy(self.text_encoder), dtype),
            tokenizer=self.tokenizer, unet=copy.deepcopy(self.unet).to(dtype),
            scheduler=DPMSolverMultistepScheduler(**NOISE_SCHEDULE), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def draw(self, captions: list[str]) -> torch.Tensor:
        """Pictures `float32` (N, 3, S, S) in [-1, 1], one seed a picture (its position)."""
        return draw_captions(self.pipeline(), captions, self.device, num_inference_steps=self.settings.val_steps,
                             guidance_scale=self.settings.guidance)

    @override
    def validate(self) -> dict[str, float]:
        """Draw pictures for `val` captions and ask the scene classifier what they show."""
        self.drawn, figures = judge_captions(self.draw, self.splits["val"], self.settings.val_pictures,
                                             self.classifier, self.device)
        return figures

    @override
    def preview(self) -> np.ndarray | None:
        return None if self.drawn is None else tile(self.drawn, columns=9)

    @override
    def save(self, folder: Path) -> None:
        self.pipeline(torch.float16).save_pretrained(folder, safe_serialization=True)
