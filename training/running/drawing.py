"""Images drawn for `val` captions during training, and what the scene classifier sees in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from terrasynth.training.data.pictures import PictureSet
from terrasynth.training.errors import InputError

BATCH = 32


@torch.no_grad()
def draw_captions(pipeline: Callable[..., Any], captions: Sequence[str], device: torch.device,
                  **options: float) -> torch.Tensor:
    """Images `float32` (N, 3, S, S) in [-1, 1], one seed an image (its position).

    Args:
        device: Where it computes, in bfloat16.
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
def judge_captions(draw: Callable[[list[str]], torch.Tensor], data: PictureSet, count: int, classifier: Any,  # noqa: ANN401
                   device: torch.device) -> tuple[torch.Tensor, dict[str, float]]:
    """Draw images for first captions, spread over the classes, and ask a classifier what they show.

    Args:
        draw: Captions -> images `float32` (N, 3, S, S) in [-1, 1].
        data: Real images, of which the captions and labels are used; those of a class that the classifier does not
            know are passed over.
        count: Images to draw, or fewer where `data` has fewer.
        classifier: A classifier of `transformers`.

    Returns:
        The images; mean negative log-likelihood in nats of the class asked for (`nll`), `accuracy`, `n`, and
        `score`, which is -nll.

    Raises:
        InputError: The classifier knows no class of the data.
    """
    known = known_classes(data, classifier)
    rows = known[np.linspace(0, len(known) - 1, min(count, len(known))).round().astype(int)].tolist()
    drawn = draw([data.captions[row][0] for row in rows])
    logits = torch.cat([classifier(part.to(device)).logits.float().cpu() for part in drawn.split(2 * BATCH)])
    place = {name: index for index, name in classifier.config.id2label.items()}  # its order is not that of the data
    names = data.class_names()
    labels = torch.tensor([place[names[row]] for row in rows])
    nll = F.cross_entropy(logits, labels).item()
    hits = (logits.argmax(1) == labels).float()
    return drawn, {"score": -nll, "nll": nll, "accuracy": hits.mean().item(), "n": float(len(rows))}


def known_classes(data: PictureSet, classifier: Any) -> NDArray[np.int64]:  # noqa: ANN401 - transformers is half typed
    """The rows of real images, int64 (N,), of which a classifier knows the class; at least one.

    Raises:
        InputError: It knows none, or the data names no classes.
    """
    known = set(classifier.config.id2label.values())
    names = data.class_names()
    rows = np.array([row for row, name in enumerate(names) if name in known], np.int64)
    if not len(rows):
        own = ", ".join(data.label_names) or "none"
        raise InputError(f"the classifier under needs.classifier knows no class of the val split (the data names "
                         f"{own:.200}), and drawn images are judged by it; give data with classes and a classifier "
                         "of them (preset scene-ucm), or tune with the preset lora or full")
    return rows
