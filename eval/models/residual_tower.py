"""A residual image tower for dual encoders: `transformers`' ResNet with its pooled output as a vector.

`VisionTextDualEncoderModel` wants a pooled output (N, D); `ResNetModel` gives (N, D, 1, 1). From scratch on a few
thousand images a convolutional tower learns what a vision transformer of the same cost does not.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, ResNetConfig, ResNetModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndNoAttention


class PooledResNetConfig(ResNetConfig):
    """`ResNetConfig` under a name of its own; `hidden_size` is the width of the pooled vector."""

    model_type = "pooled-resnet"

    @property
    def hidden_size(self) -> int:
        """Width D of the pooled output."""
        widths: list[int] = list(self.hidden_sizes or ())
        return widths[-1]


class PooledResNetModel(ResNetModel):
    """`ResNetModel` whose pooled output is (N, D)."""

    config_class = PooledResNetConfig

    def forward(self, pixel_values: torch.Tensor, **settings: Any) -> BaseModelOutputWithPoolingAndNoAttention:  # noqa: ANN401
        """Encode pixels (N, 3, S, S) float; see `ResNetModel`."""
        settings = {k: v for k, v in settings.items() if k in ("output_hidden_states",)}
        output: BaseModelOutputWithPoolingAndNoAttention = super().forward(pixel_values, **settings)
        if output.pooler_output is not None:  # typed as optional, though ResNetModel always pools
            output.pooler_output = output.pooler_output.flatten(1)
        return output


AutoConfig.register(PooledResNetConfig.model_type, PooledResNetConfig)
AutoModel.register(PooledResNetConfig, PooledResNetModel)
