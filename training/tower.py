"""What the presets of both residual image networks, the scene classifier and the dual encoder's tower, may set."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class TowerSettings(BaseModel):
    """A residual network and the views it is trained on; the names are those of `transformers.ResNetConfig`.

    Attributes:
        size: Side of a view in pixels.
        min_scale: Smallest share of a picture's side that a view spans.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = 128
    embedding_size: int = 32
    hidden_sizes: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    layer_type: str = "basic"
    min_scale: float = 0.5
