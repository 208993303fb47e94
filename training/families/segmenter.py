"""A segmenter of land cover: SegFormer (Xie et al., NeurIPS 2021) from random weights, on images with masks.

Its first stage halves the image where the published ones quarter it, since a road may be three pixels wide.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn
from typing_extensions import override

from terrasynth.eval.metrics.segmentation import confusion, image_scores, intersection_over_union
from terrasynth.prompts.layouts.catalog import SIX, six_values
from terrasynth.synthesis.core.real_pictures import opened
from terrasynth.training.data.maps import MaskFiles
from terrasynth.training.data.pictures import to_float
from terrasynth.training.data.views import Pictures, View, random_views
from terrasynth.training.running.saving import save_model, write_preprocessor
from terrasynth.training.running.task import Losses, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADS = (1, 2, 4, 8)
VIEWS = 64  # of each image, seen in turn
BATCH = 32


class SegmenterSettings(BaseModel):
    """What the preset `segmenter` may set.

    Attributes:
        masks: Folder of PNG masks that are called as the images, with the `classes.yaml` of layouts' masks.
        size: Side in pixels of what the network sees.
        widths: Width of each of the four stages, multiples of their heads (1, 2, 4, 8).
        depths: Blocks of each stage.
        decoder: Width of the decoder.
        min_scale: Smallest share of an image's side that a view spans.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    masks: str
    size: int = Field(default=128, gt=0)
    widths: tuple[int, int, int, int] = (32, 64, 128, 192)
    depths: tuple[int, int, int, int] = (1, 1, 2, 1)
    decoder: int = Field(default=128, gt=0)
    min_scale: float = Field(default=0.7, gt=0, le=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        for width, heads in zip(self.widths, HEADS, strict=True):
            if width < 1 or width % heads:
                raise ValueError(f"widths {list(self.widths)}: {width} is no multiple of its {heads} heads")
        if min(self.depths) < 1:
            raise ValueError(f"depths {list(self.depths)}: each stage has at least one block")
        return self


class SegmenterTask(Task):
    """Cross-entropy of each pixel; the best mean intersection over union on `val` is kept.

    The classes are the six of a land-cover map, as `Labels.six` has them.
    """

    def __init__(self, splits: dict[str, Pictures], masks: dict[str, MaskFiles], settings: SegmenterSettings,
                 device: torch.device) -> None:
        self.splits, self.masks, self.settings, self.device = splits, masks, settings, device
        self.size = settings.size
        self.model = network(settings).to(device)

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"segmenter": self.model}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        which = torch.randint(VIEWS, (len(rows),), generator=generator).tolist()
        views = [random_views(row, VIEWS, self.settings.min_scale, 0)[number]
                 for row, number in zip(rows.tolist(), which, strict=True)]
        pixels, classes = self._seen("train", rows.tolist(), views)
        return {"pixels": pixels, "classes": classes}

    def _seen(self, split: str, rows: Sequence[int], views: Sequence[View]) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of images float (N, 3, S, S), and their classes int64 (N, S, S)."""
        six, pairs = six_values(), self.splits[split].pairs
        both = list(zip(rows, views, strict=True))
        pixels = np.stack([view.of(opened(pairs[row]), self.size) for row, view in both])
        classes = np.stack([six[self.masks[split].values(row, view, self.size)] for row, view in both])
        return (to_float(torch.from_numpy(pixels).permute(0, 3, 1, 2)).to(self.device),
                torch.from_numpy(classes.astype(np.int64)).to(self.device))

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        self.model.train()
        return {"cross_entropy": F.cross_entropy(self._logits(batch["pixels"]), batch["classes"])}

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(pixels).logits.float()
        return F.interpolate(logits, self.size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    @override
    def validate(self) -> dict[str, float]:
        """Intersection over union on `val`, by class and their mean, of those that are there or are seen."""
        self.model.eval()
        counts = np.zeros((len(SIX), len(SIX)), np.int64)
        for rows in batches(len(self.splits["val"])):
            pixels, classes = self._seen("val", rows, [View()] * len(rows))
            counts += confusion(classes.cpu().numpy(), self._logits(pixels).argmax(1).cpu().numpy(), len(SIX))
        found = intersection_over_union(counts)
        mean = float(np.nanmean(found))
        by_class = {f"iou_{name}": float(value) for name, value in zip(SIX, found, strict=True) if value == value}
        return {"score": mean, "mean_iou": mean, **by_class, "n": float(len(self.splits["val"]))}

    @override
    def save(self, folder: Path) -> None:
        save_model(self.model, folder)
        write_preprocessor(folder, self.size)


def calibrate(folder: Path, val: Pictures, masks: MaskFiles, size: int) -> None:
    """Write beside the weights what real images of `val` score with their own masks: the scale of `pass_real`."""
    from terrasynth.eval import Calibration, load_segmenter
    from terrasynth.eval.models.dual_encoders import CALIBRATION_FILE

    segmenter, six, counts = load_segmenter(folder), six_values(), []
    for rows in batches(len(val)):
        seen = segmenter.segment(val.open(rows, size))
        counts += [confusion(six[masks.values(row, View(), size)], one, len(SIX))
                   for row, one in zip(rows, seen, strict=True)]
    scores = image_scores(np.stack(counts))
    Calibration.of(segmenter.identity(), "val", scores, np.arange(len(val)), val.class_names()).save(
        folder / CALIBRATION_FILE)


def batches(count: int) -> Iterator[list[int]]:
    """Row numbers, some at a time."""
    return (list(range(first, min(first + BATCH, count))) for first in range(0, count, BATCH))


def network(settings: SegmenterSettings) -> Any:  # noqa: ANN401 - transformers' own types
    """The segmenter before training."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(SegformerConfig(
        hidden_sizes=list(settings.widths), depths=list(settings.depths), num_attention_heads=list(HEADS),
        strides=[2, 2, 2, 2], patch_sizes=[5, 3, 3, 3], sr_ratios=[8, 4, 2, 1], mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=settings.decoder, classifier_dropout_prob=0.1, drop_path_rate=0.0,
        id2label=dict(enumerate(SIX)), label2id={name: value for value, name in enumerate(SIX)}))
