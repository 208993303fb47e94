"""The scene classifier over the classes of the data.

A small residual network (He et al., CVPR 2016) from random weights, or EfficientNet-Lite from published ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from typing_extensions import override

from terrasynth.training.data.pictures import PictureSet, random_view, to_channels_last, to_float
from terrasynth.training.families.tower import TowerSettings, published_backbone
from terrasynth.training.running.loop import Losses, Task
from terrasynth.training.running.saving import save_model, write_preprocessor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SceneSettings(TowerSettings):
    """What a preset may set about the classifier.

    Attributes:
        label_smoothing: Share of the target that is spread evenly over all classes.
    """

    label_smoothing: float = 0.1


class SceneTask(Task):
    """Cross-entropy with label smoothing on random views."""

    def __init__(self, splits: dict[str, PictureSet], settings: SceneSettings, device: torch.device) -> None:
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.size
        names = splits["train"].label_names
        self.model = classifier(settings, {"id2label": dict(enumerate(names)),
                                           "label2id": {name: i for i, name in enumerate(names)}})
        to_channels_last(self.model, device)

    @override
    def __len__(self) -> int:
        return len(self.splits["train"])

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"classifier": self.model}

    @override
    def rate(self, network: str, parameter: str) -> float:
        return self.settings.published_rate if self.settings.published and parameter.startswith("backbone.") else 1.0

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        train = self.splits["train"]
        views = random_view(train.pixels[rows], self.size, generator, self.settings.min_scale)
        views = views.to(self.device, memory_format=torch.channels_last)
        return {"pixels": views, "labels": train.labels[rows].to(self.device)}

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        self.model.train()
        logits = self.model(batch["pixels"]).logits.float()
        return {"cross_entropy": F.cross_entropy(logits, batch["labels"],
                                                 label_smoothing=self.settings.label_smoothing)}

    @override
    def validate(self) -> dict[str, float]:
        accuracy, nll = self.accuracy("val")
        return {"score": accuracy - 0.1 * nll, "accuracy": accuracy, "nll": nll, "n": float(len(self.splits["val"]))}

    @torch.no_grad()
    def accuracy(self, split: str) -> tuple[float, float]:
        """Share of a split's images that are recognized, and the mean negative log-likelihood in nats."""
        self.model.eval()
        data = self.splits[split]
        pixels = F.interpolate(to_float(data.pixels), self.size, mode="area")
        logits = torch.cat([self.model(part.to(self.device)).logits.float().cpu() for part in pixels.split(64)])
        hits = (logits.argmax(1) == data.labels).float().mean().item()
        return hits, F.cross_entropy(logits, data.labels).item()

    @override
    def save(self, folder: Path) -> None:
        save_model(self.model, folder)
        write_preprocessor(folder, self.size)


def classifier(settings: SceneSettings, labels: dict[str, Any]) -> PreTrainedModel:
    """The classifier before training; `labels` are `id2label` and `label2id` of its configuration."""
    from transformers import ResNetConfig, ResNetForImageClassification

    if settings.published is None:
        return ResNetForImageClassification(ResNetConfig(
            embedding_size=settings.embedding_size, hidden_sizes=list(settings.hidden_sizes),
            depths=list(settings.depths), layer_type=settings.layer_type, **labels))
    from terrasynth.eval.models.efficientnet_lite import EfficientNetLiteForImageClassification

    backbone = published_backbone(settings.published)
    backbone.config.update(labels)
    model = EfficientNetLiteForImageClassification(backbone.config)
    model.backbone = backbone
    return model
