"""Real images in memory as `uint8` tensors, and augmentation that is right for a view from straight above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from terrasynth.training.data import Pair, PairSet, Skipped
from terrasynth.training.errors import InputError


@dataclass(frozen=True)
class PictureSet:
    """One split in memory.

    Attributes:
        pixels: `uint8` (N, 3, S, S).
        labels: `int64` (N,), index into `label_names`; -1 where the data names no class.
        captions: One tuple of captions an image.
        label_names: The classes, sorted.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    captions: tuple[tuple[str, ...], ...]
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)

    def class_names(self) -> list[str]:
        """The class name of each image; "" where there is none."""
        return [self.label_names[i] if i >= 0 else "" for i in self.labels.tolist()]

    def arrays(self) -> np.ndarray:
        """The images as `uint8` (N, S, S, 3), the layout of the evaluators."""
        return self.pixels.permute(0, 2, 3, 1).contiguous().numpy()


def square(picture: Image.Image, size: int) -> np.ndarray:
    """Center-crop to a square and resize with Lanczos: `uint8` (size, size, 3)."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS, box=box))


def load_pictures(pairs: Sequence[Pair], size: int, label_names: tuple[str, ...], skipped: list[Skipped]) -> PictureSet:
    """Decode images; one that is broken, too large or of an unstated kind is added to `skipped` by name and left out.

    Args:
        size: Side in pixels after `square`.
        label_names: Classes in index order.
        skipped: Receives what could not be read, unless it is there already.

    Raises:
        InputError: Not one image could be read.
    """
    index = {name: i for i, name in enumerate(label_names)}
    pixels, kept, known = [], [], set(skipped)
    for pair in pairs:
        try:
            pixels.append(square(pair.open(), size))
        except (OSError, SyntaxError, ValueError) as error:  # an opener of somebody else's may raise what PIL does
            if (left_out := Skipped(pair.name, f"unreadable image: {error}")) not in known:
                skipped.append(left_out)
            continue
        kept.append(pair)
    if not kept:
        raise InputError(f"none of {len(pairs)} images could be read; the last was {pairs[-1].name}: "
                         f"{left_out.reason}")
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([index.get(pair.label, -1) for pair in kept])
    return PictureSet(stacked, labels, tuple(pair.captions for pair in kept), label_names)


def load_splits(data: PairSet, size: int) -> dict[str, PictureSet]:
    """Load every split that has pairs; `val` is required because checkpoints are chosen on it.

    Raises:
        InputError: There is no `train` or no `val` split.
    """
    splits = {}
    for name in ("train", "val", "test"):
        pairs = data.split(name)
        if pairs:
            splits[name] = load_pictures(pairs, size, data.labels, data.skipped)
        elif name != "test":
            raise InputError(f"the data has no {name!r} split; it is needed (the best checkpoint is chosen on val)")
    return splits


def to_float(pixels: torch.Tensor) -> torch.Tensor:
    """`uint8` [0, 255] to `float32` [-1, 1], the range of the networks."""
    return pixels.float().div_(127.5).sub_(1.0)


def to_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """Float (N, 3, S, S) in [-1, 1] to `uint8` (N, S, S, 3)."""
    return pixels.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_channels_last(network: torch.nn.Module, device: torch.device) -> None:
    """Move a convolutional network to a device in the layout that its convolutions are fastest in."""
    network.to(device)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def dihedral(x: torch.Tensor, which: int) -> torch.Tensor:
    """One of the eight flips and quarter turns of the last two axes; `which` in 0..7."""
    x = torch.rot90(x, which % 4, dims=(-2, -1))
    return x.flip(-1) if which >= 4 else x


def random_dihedral(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An independent flip or quarter turn for each sample of a batch (N, C, S, S)."""
    which = torch.randint(8, (len(x),), generator=generator).tolist()
    return torch.stack([dihedral(sample, w) for sample, w in zip(x, which, strict=True)])


def random_view(pixels: torch.Tensor, size: int, generator: torch.Generator, min_scale: float = 0.6,
                jitter: float = 0.2) -> torch.Tensor:
    """Random rotation, scale, position, flip, brightness and contrast.

    From straight above there is no preferred direction, so any angle is a true view. What falls outside the
    image is mirrored in.

    Args:
        pixels: `uint8` (N, 3, S, S).
        size: Side of the result in pixels.
        generator: CPU generator; the only source of randomness.
        min_scale: Smallest share of the image's side that a view spans, at most 1.
        jitter: Half-width of the uniform brightness (in units of the half range) and contrast factors.

    Returns:
        `float32` (N, 3, size, size), about [-1, 1].
    """
    n = len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    scale, angle = uniform(min_scale, 1.0), uniform(-math.pi, math.pi)
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    shift = torch.stack([uniform(-1, 1), uniform(-1, 1)], 1) * (1 - scale)[:, None]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)]
    theta = torch.cat([torch.stack(rows, 1), shift[..., None]], 2)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    views = F.grid_sample(to_float(pixels), grid.to(pixels.device), padding_mode="reflection", align_corners=False)
    contrast, brightness = uniform(1 - jitter, 1 + jitter), uniform(-jitter, jitter)
    shape = (-1, 1, 1, 1)
    return views * contrast.view(shape).to(views) + brightness.view(shape).to(views)
