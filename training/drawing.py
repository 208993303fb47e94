"""Pictures drawn for `val` captions during training, and what the scene classifier sees in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from training.pictures import PictureSet

BATCH = 32


@torch.no_grad()
def draw_captions(pipeline: Callable[..., Any], captions: Sequence[str], device: torch.device,
                  **options: float) -> torch.Tensor:
    """Pictures `float32` (N, 3, S, S) in [-1, 1], one seed a picture (its position).

    Args:
        pipeline: A diffusers text-to-image pipeline.
        captions: N texts.
        device: Where it computes, in bfloat16.
        options: Of its call.
    """
    parts = []
    for first in range(0, len(captions), BATCH):
        part = list(captions[first:first + BATCH])
        seeds = [torch.Generator().manual_seed(first + i) for i in range(len(part))]
        with torch.autocast(device.type, torch.bfloat16):
            drawn = pipeline(part, generator=seeds, output_type="pt", **options).images
        parts.append(drawn.float().cpu() * 2 - 1)
    return torch.cat(parts)


@torch.no_grad()
def judge_captions(draw: Callable[[list[str]], torch.Tensor], data: PictureSet, count: int, classifier: nn.Module,
                   device: torch.device) -> tuple[torch.Tensor, dict[str, float]]:
    """Draw pictures for first captions, spread over the classes, and ask a classifier what they show.

    Args:
        draw: Captions -> pictures `float32` (N, 3, S, S) in [-1, 1].
        data: Real pictures, of which the captions and labels are used.
        count: Pictures to draw, or fewer where `data` has fewer.
        classifier: Gives `logits`.
        device: Where it is.

    Returns:
        The pictures; mean negative log-likelihood in nats of the class asked for (`nll`), `accuracy`, `n`, and
        `score`, which is -nll.
    """
    rows = np.linspace(0, len(data) - 1, min(count, len(data))).round().astype(int).tolist()
    drawn = draw([data.captions[row][0] for row in rows])
    logits = torch.cat([classifier(part.to(device)).logits.float().cpu() for part in drawn.split(2 * BATCH)])
    labels = data.labels[rows]
    nll = F.cross_entropy(logits, labels).item()
    hits = (logits.argmax(1) == labels).float()
    return drawn, {"score": -nll, "nll": nll, "accuracy": hits.mean().item(), "n": float(len(rows))}
