"""Stable Diffusion 1.x and 2.x (Rombach et al., CVPR 2022): a U-Net that reads the states of one CLIP text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from terrasynth.training.tuning.families.base import ATTENTION, CLIP_ATTENTION, FEED_FORWARD, Conditions

if TYPE_CHECKING:
    import torch
    from torch import nn

    from terrasynth.training.tuning.lora import Adapter


class StableDiffusion:
    """`StableDiffusionPipeline`."""

    denoiser = "unet"
    text_encoders: tuple[str, ...] = ("text_encoder",)
    lora_targets: tuple[str, ...] = (*ATTENTION, *FEED_FORWARD, "proj_in", "proj_out")
    text_lora_targets: tuple[str, ...] = CLIP_ATTENTION
    left_out: ClassVar[dict[str, Any]] = {"safety_checker": None, "requires_safety_checker": False,
                                          "feature_extractor": None}
    call: ClassVar[dict[str, Any]] = {}

    def encode(self, pipeline: Any, texts: Sequence[str]) -> Conditions:  # noqa: ANN401 - diffusers is untyped
        """States of the text encoder, (N, tokens, width)."""
        states, _ = pipeline.encode_prompt(list(texts), pipeline.text_encoder.device, 1, False)
        return {"prompt_embeds": states}

    def null(self, pipeline: Any) -> Conditions:  # noqa: ANN401
        """The empty text."""
        return self.encode(pipeline, [""])

    def predict(self, network: nn.Module, noisy: torch.Tensor, timesteps: torch.Tensor, conditions: Conditions,
                size: int) -> torch.Tensor:
        """(N, C, h, w)."""
        predicted: torch.Tensor = network(noisy, timesteps, conditions["prompt_embeds"], return_dict=False)[0]
        return predicted

    def save_lora(self, pipeline: Any, adapters: dict[str, Adapter], folder: Path) -> None:  # noqa: ANN401
        """`pytorch_lora_weights.safetensors`, for `load_lora_weights` of the pipeline."""
        from terrasynth.training.tuning.lora import diffusers_arguments

        type(pipeline).save_lora_weights(folder, safe_serialization=True, **diffusers_arguments(adapters))
