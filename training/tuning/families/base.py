"""What the kinds of pipeline that can be tuned have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn

Conditions = dict[str, "torch.Tensor"]
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
CLIP_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")


class Family(Protocol):
    """What differs between kinds of pipeline.

    Attributes:
        denoiser: Name of the component that predicts.
        text_encoders: Names of the components that read texts.
        lora_targets: Layers of the denoiser that get adapters, by the end of their names.
        text_lora_targets: The same of the text encoders.
        left_out: Arguments of `from_pretrained` that leave out components which training has no use for.
        call: Arguments of the pipeline's call besides texts, size, steps, guidance and noise.
    """

    denoiser: str
    text_encoders: tuple[str, ...]
    lora_targets: tuple[str, ...]
    text_lora_targets: tuple[str, ...]
    left_out: ClassVar[dict[str, Any]]
    call: ClassVar[dict[str, Any]]

    def encode(self, pipeline: Any, texts: Sequence[str]) -> Conditions:  # noqa: ANN401 - diffusers is untyped
        """What the pipeline itself would make of N texts."""

    def null(self, pipeline: Any) -> Conditions:  # noqa: ANN401
        """What the pipeline puts in the unconditional branch of guidance; one row."""

    def predict(self, network: nn.Module, noisy: torch.Tensor, timesteps: torch.Tensor, conditions: Conditions,
                size: int) -> torch.Tensor:
        """The network's prediction for noisy latents, of their shape (N, C, h, w); `size` in pixels."""

    def save_lora(self, pipeline: Any, adapters: dict[str, Any], folder: Path) -> None:  # noqa: ANN401
        """Write adapters (component name -> `tuning.lora.Adapter`) the way their library loads them."""


@dataclass(frozen=True)
class Base:
    """The pipeline that a training starts from.

    Attributes:
        name: Embedded name, Hub id, or name of a local folder.
        revision: Commit on the Hub, or content hash.
        family: What is particular to its kind.
        on_hub: Whether `name` is a Hub id.
    """

    name: str
    revision: str
    folder: Path
    family: Family
    on_hub: bool
