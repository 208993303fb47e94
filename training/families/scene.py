"""The scene classifier over the classes of the data.

A small residual network (He et al., CVPR 2016) from random weights, or EfficientNet-Lite from published ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from typing_extensions import override

from terrasynth.training.data.pictures import PictureSet, to_channels_last
from terrasynth.training.families.tower import TowerSettings, TowerTask, published_backbone
from terrasynth.training.running.task import Losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SceneSettings(TowerSettings):
    """What a preset may set about the classifier.

    Attributes:
        label_smoothing: Share of the target that is spread evenly over all classes.
    """

    label_smoothing: float = 0.1


class SceneTask(TowerTask):
    """Cross-entropy with label smoothing on random views."""

    tower = "backbone."
    settings: SceneSettings

    def __init__(self, splits: dict[str, PictureSet], settings: SceneSettings, device: torch.device) -> None:
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.size
        names = splits["train"].label_names
        self.model = classifier(settings, {"id2label": dict(enumerate(names)),
                                           "label2id": {name: i for i, name in enumerate(names)}})
        to_channels_last(self.model, device)

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"classifier": self.model}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"pixels": self.views(rows, generator),
                "labels": self.splits["train"].labels[rows].to(self.device)}

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
        labels = self.splits[split].labels
        logits = torch.cat([self.model(part).logits.float().cpu() for part in self.whole(split)])
        return (logits.argmax(1) == labels).float().mean().item(), F.cross_entropy(logits, labels).item()


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
