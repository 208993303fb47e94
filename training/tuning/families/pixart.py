"""PixArt-Sigma (Chen et al., ECCV 2024): a diffusion transformer that reads the states of a T5 encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from terrasynth.training.tuning.families.base import ATTENTION, FEED_FORWARD, Conditions

if TYPE_CHECKING:
    import torch
    from torch import nn

    from terrasynth.training.tuning.lora import Adapter


class PixArtSigma:
    """`PixArtSigmaPipeline`."""

    denoiser = "transformer"
    text_encoders: tuple[str, ...] = ("text_encoder",)
    lora_targets: tuple[str, ...] = (*ATTENTION, *FEED_FORWARD)
    text_lora_targets: tuple[str, ...] = ("q", "k", "v", "o")
    left_out: ClassVar[dict[str, Any]] = {}
    call: ClassVar[dict[str, Any]] = {"use_resolution_binning": False, "clean_caption": False, "negative_prompt": None}

    def encode(self, pipeline: Any, texts: Sequence[str]) -> Conditions:  # noqa: ANN401 - diffusers is untyped
        """States of the encoder, (N, tokens, width), and which of them are text, (N, tokens)."""
        states, mask, _, _ = pipeline.encode_prompt(list(texts), False, device=pipeline.text_encoder.device)
        return {"prompt_embeds": states, "prompt_attention_mask": mask}

    def null(self, pipeline: Any) -> Conditions:  # noqa: ANN401
        """The empty text."""
        return self.encode(pipeline, [""])

    def predict(self, network: nn.Module, noisy: torch.Tensor, timesteps: torch.Tensor, conditions: Conditions,
                size: int) -> torch.Tensor:
        """(N, C, h, w); the half of the output that says the variance is not trained, as sampling leaves it out."""
        predicted: torch.Tensor = network(
            noisy, encoder_hidden_states=conditions["prompt_embeds"],
            encoder_attention_mask=conditions["prompt_attention_mask"], timestep=timesteps,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None}, return_dict=False)[0]
        return predicted[:, :noisy.shape[1]]

    def save_lora(self, pipeline: Any, adapters: dict[str, Adapter], folder: Path) -> None:  # noqa: ANN401
        """`adapter_model.safetensors` with `adapter_config.json`, for `peft.PeftModel.from_pretrained(transformer)`.

        This pipeline has no `load_lora_weights` in diffusers. Adapters of the text encoder lie in `text_encoder/`.
        """
        from terrasynth.training.tuning.lora import save_peft

        for name, adapter in adapters.items():
            save_peft(adapter, folder if name == self.denoiser else folder / name)
