"""The Hopfield prototype generator (Txt2Img-MHN, Xu et al., IEEE TIP 2023, section III).

Cross-entropy of each image token given the text and the tokens before it; captions dropped so that classifier-free
guidance (Ho & Salimans, 2022) has a trained null, which the authors' code has not.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import VQModel
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from typing_extensions import override

from terrasynth.permissions import like_new_files
from terrasynth.synthesis.core.sampling import Sampling
from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline, pixels_per_token
from terrasynth.synthesis.generators.hopfield.transformer import HopfieldTransformer
from terrasynth.training.data.latent_views import load_autoencoder, to_latents
from terrasynth.training.data.pictures import PictureSet, dihedral, to_float
from terrasynth.training.errors import InputError
from terrasynth.training.families.caption_tokenizer import encode, train_tokenizer
from terrasynth.training.families.latent_vq import encode_latents
from terrasynth.training.families.perception import load_classifier
from terrasynth.training.families.vq import encode_pictures
from terrasynth.training.running.drawing import draw_captions, judge_captions, known_classes
from terrasynth.training.running.progress import Progress
from terrasynth.training.running.saving import contiguous_copy
from terrasynth.training.running.sheets import tile
from terrasynth.training.running.task import Losses, Task

TURNS = 8  # flips and quarter turns


class HopfieldSettings(BaseModel):
    """What a preset may set about the generator.

    Attributes:
        size: Side of the images in pixels.
        crops: Random crops of each image in each of its eight flips and turns; the whole image comes on top.
        crop_scale: Smallest side of a crop, as a share of the image's.
        width: Width of the network.
        blocks: Its blocks, each a lookup in prototypes and an attention.
        heads: Attention heads.
        head_width: Width of a head.
        prototypes: Prototypes of each lookup.
        beta: Inverse temperature of the lookups at the start; None for 1 / sqrt(width).
        learn_beta: Let training move it, for each lookup by itself.
        retrieval_steps: How often a lookup is applied to what it found.
        separate_values: Lookups read values of their own instead of the patterns.
        attention_values: Attention reads values of its own instead of the keys.
        positions: "axial" adds learned row and column embeddings; "rotary" turns queries and keys by row and column.
        key_value_heads: Keys and values of their own, shared among the heads; None for one a head.
        dropout: After lookups and attention, in training.
        vocabulary: Text tokens that the tokenizer may use.
        tokens: Longest text in tokens, start and end included.
        caption_dropout: Share of captions replaced by the empty text, which guidance draws against.
        text_weight: Of the cross-entropy of text tokens; 0 leaves them out.
        start_from_codebook: Start the image embedding where like codes look alike.
        guidance: Guidance scale that previews are drawn with, and that the model says it wants.
        temperature: Of sampling; divides the logits.
        top_k: Only so many most likely tokens are drawn; 0 for all.
        top_p: Only the most likely tokens that together have this probability are drawn; 1 for all.
        val_pictures: Captions of `val` that are drawn and judged; 0 draws none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = 128
    crops: int = 1
    crop_scale: float = 0.85
    width: int = 384
    blocks: int = 7
    heads: int = 8
    head_width: int = 48
    prototypes: int = 768
    beta: float | None = None
    learn_beta: bool = True
    retrieval_steps: int = 1
    separate_values: bool = True
    attention_values: bool = True
    positions: Literal["axial", "rotary"] = "axial"
    key_value_heads: int | None = None
    dropout: float = 0.0
    vocabulary: int = 1280
    tokens: int = 40
    caption_dropout: float = 0.12
    text_weight: float = 0.0
    start_from_codebook: bool = True
    guidance: float = 3.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    val_pictures: int = 63


class HopfieldTask(Task):
    """The transformer on cached image tokens.

    Args:
        tokenizer: Folder of the `VQModel`, of images or of latents.
        classifier: Folder of the scene classifier that judges images drawn for `val`.
        cache: File of the image tokens; read where it exists, else written.
        autoencoder: Folder of the autoencoder whose latents `tokenizer` reads; None for one that reads images.

    Raises:
        InputError: The tokenizer reads something else, or `size` is no multiple of what a token stands for.
    """

    def __init__(self, splits: dict[str, PictureSet], settings: HopfieldSettings, device: torch.device,
                 tokenizer: Path, classifier: Path, cache: Path | None = None, autoencoder: Path | None = None) -> None:
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.size
        self.vqvae = VQModel.from_pretrained(tokenizer, torch_dtype=torch.float32)
        self.vqvae.register_to_config(_name_or_path="")
        self.vqvae.to(device).eval().requires_grad_(False)
        self.vae = None if autoencoder is None else load_autoencoder(autoencoder, device)
        patch = self._patch()
        self.classifier = load_classifier(classifier).to(device)
        if settings.val_pictures:
            known_classes(splits["val"], self.classifier)  # before anything is trained
        texts = [caption for captions in splits["train"].captions for caption in captions]
        self.tokenizer = train_tokenizer(texts, settings.vocabulary, settings.tokens)
        self.transformer = HopfieldTransformer(
            text_vocabulary=len(self.tokenizer), codes=self.vqvae.config.num_vq_embeddings,
            text_length=settings.tokens, side=settings.size // patch, patch=patch, width=settings.width,
            blocks=settings.blocks, heads=settings.heads, head_width=settings.head_width,
            prototypes=settings.prototypes, beta=settings.beta, learn_beta=settings.learn_beta,
            retrieval_steps=settings.retrieval_steps, separate_values=settings.separate_values,
            attention_values=settings.attention_values, positions=settings.positions, dropout=settings.dropout,
            predict_text=settings.text_weight > 0, key_value_heads=settings.key_value_heads,
        )
        if settings.start_from_codebook:
            self.transformer.embed_codebook(self.vqvae.quantize.embedding.weight, torch.Generator().manual_seed(0))
        self.transformer.to(device)
        self.codes = self._codes(cache)
        self.text_ids = [torch.tensor(encode(self.tokenizer, list(own))["input_ids"])
                         for own in splits["train"].captions]
        self.null_ids = torch.tensor(encode(self.tokenizer, [""])["input_ids"])[0]
        self.drawn: torch.Tensor | None = None

    def _patch(self) -> int:
        """Side in pixels of what one token stands for, the tokenizer checked."""
        inside = self.vqvae.config.in_channels
        channels = 3
        if self.vae is not None:
            self.vae.register_to_config(_name_or_path="")
            channels = self.vae.config.latent_channels
        if inside != channels:
            what = "images" if self.vae is None else "the latents of needs.autoencoder"
            raise InputError(f"needs.tokenizer reads {inside} channels, and {what} have {channels}; a tokenizer of "
                             "latents needs its autoencoder as needs.autoencoder, one of images needs none")
        patch = pixels_per_token(self.vqvae, self.vae)
        if self.settings.size % patch:
            raise InputError(f"model.size {self.settings.size} is no multiple of the {patch} pixels of a token")
        return patch

    def _tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """Image tokens int64 (N, h, w), on the CPU, of images float32 (N, 3, S, S) in [-1, 1]."""
        if self.vae is None:
            return encode_pictures(self.vqvae, pixels)
        return torch.cat([encode_latents(self.vqvae, to_latents(self.vae, part.to(self.device)))
                          for part in pixels.split(32)])

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"transformer": self.transformer}

    def _codes(self, cache: Path | None) -> torch.Tensor:
        """Image tokens int16 (N, views, side**2) of the training images in every view; view v is turned v % 8."""
        key = self._cache_key()
        if cache is not None and cache.is_file():
            with safe_open(cache, "pt") as stored:
                if (stored.metadata() or {}).get("key") == key:
                    codes: torch.Tensor = stored.get_tensor("codes")
                    return codes
        pixels, generator = self.splits["train"].pixels, torch.Generator().manual_seed(0)
        views, total = [], TURNS * (1 + self.settings.crops)
        progress = Progress("image tokens", enabled=True)
        for view in range(total):
            parts = []
            for part in pixels.split(64):
                seen = part if view < TURNS else random_crop(part, self.settings.crop_scale, generator)
                turned = dihedral(resized(seen, self.settings.size), view % TURNS)
                parts.append(self._tokens(turned).flatten(1))
            views.append(torch.cat(parts).to(torch.int16))
            progress.step(view + 1, (view + 1) / total, 0.0, {})
        codes = torch.stack(views, 1)
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            save_file({"codes": codes}, cache, metadata={"key": key})
            like_new_files(cache)
        return codes

    def _cache_key(self) -> str:
        """Hash of what decides the image tokens: views, images and the networks that make them."""
        digest = hashlib.sha256(repr((self.settings.size, self.settings.crops, self.settings.crop_scale)).encode())
        digest.update(self.splits["train"].pixels.numpy().tobytes())
        for network in (self.vqvae,) if self.vae is None else (self.vqvae, self.vae):
            for name, tensor in network.state_dict().items():
                digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        view = torch.randint(self.codes.shape[1], (len(rows),), generator=generator)
        texts = []
        for row in rows.tolist():
            own = self.text_ids[row]
            chosen = own[int(torch.randint(len(own), (1,), generator=generator))]
            dropped = torch.rand(1, generator=generator).item() < self.settings.caption_dropout
            texts.append(self.null_ids if dropped else chosen)
        return {"text": torch.stack(texts).to(self.device), "tokens": self.codes[rows, view].long().to(self.device)}

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        self.transformer.train()
        return self._losses(batch["text"], batch["tokens"])

    def _losses(self, text: torch.Tensor, tokens: torch.Tensor) -> Losses:
        hidden = self.transformer.hidden(text, tokens[:, :-1])
        first = self.settings.tokens - 1
        logits = self.transformer.image_logits(hidden[:, first:]).float()
        losses = {"cross_entropy": F.cross_entropy(logits.flatten(0, 1), tokens.flatten())}
        if self.settings.text_weight:
            scores = self.transformer.logits(hidden[:, :first])[..., self.vqvae.config.num_vq_embeddings:].float()
            losses["text"] = self.settings.text_weight * F.cross_entropy(scores.flatten(0, 1), text[:, 1:].flatten())
        return losses

    def pipeline(self, dtype: torch.dtype = torch.float32) -> Txt2ImgMHNPipeline:
        """A pipeline of copies of the networks as they are now."""
        pipeline = Txt2ImgMHNPipeline(
            nn.Module.to(copy.deepcopy(self.vqvae), dtype), nn.Module.to(copy.deepcopy(self.transformer), dtype).eval(),
            self.tokenizer,
            self.settings.temperature, self.settings.top_k, self.settings.top_p,
            None if self.vae is None else contiguous_copy(self.vae, dtype),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def draw(self, captions: list[str]) -> torch.Tensor:
        """Images `float32` (N, 3, S, S) in [-1, 1], one seed an image (its position)."""
        return draw_captions(self.pipeline(), captions, self.device, guidance_scale=self.settings.guidance)

    @torch.no_grad()
    def cross_entropy(self, split: str) -> float:
        """Mean negative log-likelihood in nats a token of a split's whole images given their first captions."""
        data = self.splits[split]
        codes = self._tokens(resized(data.pixels, self.settings.size)).flatten(1)
        text = torch.tensor(encode(self.tokenizer, [own[0] for own in data.captions])["input_ids"])
        self.transformer.eval()
        total = 0.0
        for own_text, own_codes in zip(text.split(32), codes.split(32), strict=True):
            with torch.autocast(self.device.type, torch.bfloat16):
                losses = self._losses(own_text.to(self.device), own_codes.to(self.device))
            total += losses["cross_entropy"].item() * len(own_text)
        return total / len(data)

    @override
    def validate(self) -> dict[str, float]:
        """Draw images for `val` captions and ask the scene classifier what they show."""
        figures = {"cross_entropy": self.cross_entropy("val")}
        if not self.settings.val_pictures:
            return {"score": -figures["cross_entropy"], **figures, "n": float(len(self.splits["val"]))}
        self.drawn, judged = judge_captions(self.draw, self.splits["val"], self.settings.val_pictures,
                                            self.classifier, self.device)
        return judged | figures

    @override
    def preview(self) -> np.ndarray | None:
        return None if self.drawn is None else tile(self.drawn, columns=9)

    @override
    def save(self, folder: Path) -> None:
        self.pipeline(torch.float16).save_pretrained(folder, safe_serialization=True)
        Sampling(guidance=self.settings.guidance).save(folder)


def resized(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """`uint8` (N, 3, S, S) to float32 (N, 3, size, size) in [-1, 1]."""
    pixels = to_float(pixels)
    if pixels.shape[-1] == size:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False).clamp(-1, 1)


def random_crop(pixels: torch.Tensor, least: float, generator: torch.Generator) -> torch.Tensor:
    """One square of random side and place for the whole batch: `uint8` (N, 3, S, S) -> (N, 3, s, s)."""
    side = pixels.shape[-1]
    share = least + (1 - least) * torch.rand(1, generator=generator).item()
    cropped = max(1, round(share * side))
    top, left = torch.randint(side - cropped + 1, (2,), generator=generator).tolist()
    return pixels[..., top:top + cropped, left:left + cropped]
