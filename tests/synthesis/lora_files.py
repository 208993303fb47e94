"""LoRA files in the forms that trainers write, with what each has to add to which weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

ENDS = ("q_proj", "v_proj", "fc1", "to_q", "to_v", "to_out.0", "ff.net.2", "conv1", "proj_in")
ENCODERS = {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}


def layers(network: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """The layers that these files adapt."""
    return [(name, module) for name, module in network.named_modules()
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and name.endswith(ENDS)]


def write_lora(pipeline, path: Path, components: Sequence[str], form: str, alpha: str = "none"):
    """Write a LoRA; gives what it adds to the weights, by component and layer.

    Args:
        pipeline: What it is for.
        path: The file.
        components: Those that it adapts.
        form: "diffusers"; "transformers 4", with the text encoders' layers under `text_model.`; "linear layer", as
            diffusers wrote text encoders first; "kohya".
        alpha: "none", "one" for all layers, or "each" its own.
    """
    tensors, added = {}, {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for component in components:
            for number, (name, module) in enumerate(layers(getattr(pipeline, component))):
                rank = 4 if number % 2 else 2
                down, up = _pair(module, rank)
                factor = {"none": None, "one": 2.0, "each": 1.0 + number}[alpha]
                added[component, name] = (up.flatten(1) @ down.flatten(1)).reshape(module.weight.shape) * (
                    1.0 if factor is None else factor / rank)
                tensors |= dict(_named(form, component, name, down, up, factor, hasattr(pipeline, "text_encoder_2")))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path))
    return added


def _pair(module, rank):
    if isinstance(module, torch.nn.Conv2d):
        return (torch.randn(rank, module.in_channels, *module.kernel_size) * 0.1,
                torch.randn(module.out_channels, rank, 1, 1) * 0.1)
    return torch.randn(rank, module.in_features) * 0.1, torch.randn(module.out_features, rank) * 0.1


def _named(form, component, name, down, up, factor, two) -> Iterator[tuple[str, torch.Tensor]]:
    long = name if component == "unet" or name.startswith("text_model.") else f"text_model.{name}"
    if form == "kohya":
        prefix = "lora_unet_" if component == "unet" else ENCODERS[component] if two else "lora_te_"
        key = prefix + long.replace(".", "_")
        yield f"{key}.lora_down.weight", down
        yield f"{key}.lora_up.weight", up
        if factor is not None:
            yield f"{key}.alpha", torch.tensor(factor)
    else:
        shown = name if form == "diffusers" else long
        ends = ("lora_linear_layer.down", "lora_linear_layer.up") if form == "linear layer" else ("lora_A", "lora_B")
        for end, tensor in zip(ends, (down, up), strict=True):
            yield f"{component}.{shown}.{end}.weight", tensor
