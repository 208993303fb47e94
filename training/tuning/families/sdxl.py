"""Stable Diffusion XL (Podell et al., ICLR 2024): two text encoders, a pooled embedding, and the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from terrasynth.training.tuning.families.base import Conditions
from terrasynth.training.tuning.families.sd import StableDiffusion

if TYPE_CHECKING:
    import torch
    from torch import nn


class StableDiffusionXL(StableDiffusion):
    """`StableDiffusionXLPipeline`."""

    text_encoders: tuple[str, ...] = ("text_encoder", "text_encoder_2")
    left_out: ClassVar[dict[str, Any]] = {"add_watermarker": False}

    @override
    def encode(self, pipeline: Any, texts: Sequence[str]) -> Conditions:
        """States of both encoders side by side, (N, tokens, width), and the second one's pooled text, (N, width)."""
        states, _, pooled, _ = pipeline.encode_prompt(list(texts), device=pipeline.text_encoder_2.device,
                                                      do_classifier_free_guidance=False)
        return {"prompt_embeds": states, "pooled_prompt_embeds": pooled}

    @override
    def null(self, pipeline: Any) -> Conditions:
        """Zeros where the pipeline says so, as the published weights do; else the empty text."""
        empty = self.encode(pipeline, [""])
        if pipeline.config.force_zeros_for_empty_prompt:
            return {name: value.new_zeros(value.shape) for name, value in empty.items()}
        return empty

    @override
    def predict(self, network: nn.Module, noisy: torch.Tensor, timesteps: torch.Tensor, conditions: Conditions,
                size: int) -> torch.Tensor:
        """(N, C, h, w); the network is told what the pipeline tells it: original size, no crop, target size."""
        ids = noisy.new_tensor([size, size, 0, 0, size, size]).expand(len(noisy), -1)
        added = {"text_embeds": conditions["pooled_prompt_embeds"], "time_ids": ids}
        predicted: torch.Tensor = network(noisy, timesteps, conditions["prompt_embeds"], added_cond_kwargs=added,
                                          return_dict=False)[0]
        return predicted
