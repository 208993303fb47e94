"""Latents of several views of every image, made once by a published autoencoder and kept on disk.

A view is a square part of an image, flipped or turned. Nothing is ever enlarged: a view spans at least as many pixels
of the original as the model reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from terrasynth.synthesis.core.real_pictures import opened
from terrasynth.synthesis.generators import latents
from terrasynth.training.data import Pair
from terrasynth.training.data.how_far import encoding
from terrasynth.training.data.latent_cache import TensorCache, cache_key
from terrasynth.training.data.pictures import to_float
from terrasynth.training.data.views import Pictures, View, random_views

SHARD = 64


class ViewSettings(BaseModel):
    """How images are seen in training.

    Attributes:
        size: Side in pixels of what the model reads.
        count: Views per image; the first is the whole middle, upright.
        min_scale: Smallest share of the image's shorter side that a view spans.
        seed: Seed of where the views lie.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=128, gt=0)
    count: int = Field(default=8, gt=0)
    min_scale: float = Field(default=0.6, gt=0, le=1)
    seed: int = Field(default=0, ge=0)


def views_in(row: int, side: int, settings: ViewSettings) -> list[View]:
    """Views of the training image `row` whose shorter side has `side` pixels; a pure function."""
    least = min(1.0, max(settings.min_scale, settings.size / side))
    return random_views(row, settings.count, least, settings.seed)


def load_autoencoder(folder: Path, device: torch.device) -> Any:  # noqa: ANN401 - diffusers is untyped
    """A frozen diffusers autoencoder of any kind, float32, convolutions in the layout that is fastest.

    Raises:
        InputError: The folder holds none, or one without safetensors weights that are whole.
    """
    from terrasynth.synthesis.generators import autoencoder_swap
    from terrasynth.synthesis.generators.autoencoders import Autoencoder, kind_of

    found = Autoencoder(folder.name, "", folder, kind_of(folder, f"autoencoder {folder.name!r}"))
    model: Any = autoencoder_swap.load_autoencoder(found, torch.float32)
    return model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


@torch.no_grad()
def to_latents(autoencoder: Any, pixels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - diffusers is untyped
    """Latents float32 (N, C, h, w), scaled as a denoiser reads them, of float pixels (N, 3, S, S) in [-1, 1]."""
    return latents.to_latents(autoencoder, pixels.contiguous(memory_format=torch.channels_last))


@torch.no_grad()
def to_pixels(autoencoder: Any, made: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - diffusers is untyped
    """Float pixels (N, 3, S, S), about [-1, 1], of latents (N, C, h, w) as a denoiser writes them."""
    return latents.to_pixels(autoencoder, made.contiguous(memory_format=torch.channels_last))


class LatentViews:
    """Views of N images and their latents, a shard at a time on disk.

    Args:
        autoencoder: Folder of the autoencoder that encodes them.
        cache: Folder for shards; a folder of its own is made in it for each combination of the above.
        device: Where images are encoded.
    """

    def __init__(self, images: Pictures, settings: ViewSettings, autoencoder: Path, cache: Path,
                 device: torch.device) -> None:
        from terrasynth.eval.models.references import content_hash

        self.images, self.settings, self._folder, self._device = images, settings, autoencoder, device
        self.key = cache_key(pixels=images.digest, views=settings.model_dump(), vae=content_hash(autoencoder))
        self.cache = TensorCache(cache / f"views-{self.key}", len(images), SHARD)
        self._far = encoding(settings.count)
        self.cache.make(self._encode, self._far)

    def __len__(self) -> int:
        return len(self.images)

    def _encode(self, rows: range) -> dict[str, torch.Tensor]:
        autoencoder = load_autoencoder(self._folder, self._device)
        encoded, pixels = [], []
        for row in rows:
            seen = view_pixels(self.images.pairs[row], row, self.settings)
            pixels.append(torch.from_numpy(seen))
            floats = to_float(pixels[-1].permute(0, 3, 1, 2)).to(self._device)
            encoded.append(to_latents(autoencoder, floats).half().cpu())
            self._far.add(1)
        return {"latents": torch.stack(encoded), "pixels": torch.stack(pixels)}

    def all_latents(self) -> torch.Tensor:
        """Every latent, float16 (N, V, C, h, w), in memory."""
        return self.cache.all("latents")

    def pixels(self, row: int, view: int) -> torch.Tensor:
        """One view, `uint8` (S, S, 3)."""
        return self.cache.read(row, view)["pixels"]


def view_pixels(pair: Pair, row: int, settings: ViewSettings) -> np.ndarray:
    """The views of one image, `uint8` (V, S, S, 3)."""
    image = opened(pair)
    return np.stack([view.of(image, settings.size) for view in views_in(row, min(image.size), settings)])


def ground_distances(pairs: Sequence[Pair], settings: ViewSettings, native: Sequence[float | None]) -> np.ndarray:
    """Meters a pixel of every view, float32 (N, V); NaN where the image's own is not known.

    Args:
        native: Ground sampling distance of each image as it is on disk.
    """
    distances = np.full((len(pairs), settings.count), np.nan, np.float32)
    for row, (pair, meters) in enumerate(zip(pairs, native, strict=True)):
        if meters is None:
            continue
        side = min(opened(pair).size)
        scales = [view.scale for view in views_in(row, side, settings)]
        distances[row] = [meters * side * scale / settings.size for scale in scales]
    return distances
