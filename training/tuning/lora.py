"""Low-rank adapters (Hu et al., ICLR 2022) on a network of any library, and their files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from terrasynth.training.errors import InputError

if TYPE_CHECKING:
    from peft import LoraConfig

    from terrasynth.training.tuning.settings import LoraSettings

NAME = "default"


@dataclass(frozen=True)
class Adapter:
    """The adapters of one network.

    Attributes:
        network: The network, adapters in place.
        config: Rank, scale and layers.
    """

    network: nn.Module
    config: LoraConfig

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Name and weights of every adapter, float32."""
        return ((name, value) for name, value in self.network.named_parameters() if ".lora_" in name)

    def dropouts(self) -> list[nn.Module]:
        """The dropout layers of the adapters."""
        return [module for name, module in self.network.named_modules() if name.endswith(f"lora_dropout.{NAME}")]

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of the weights in half precision, under `peft`'s names for a saved adapter."""
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(self.network, adapter_name=NAME)
        return {name: value.detach().cpu().to(torch.float16).contiguous() for name, value in state.items()}

    def metadata(self) -> dict[str, Any]:
        """The configuration, JSON-able and in a fixed order."""
        values: dict[str, Any] = self.config.to_dict()  # type: ignore[no-untyped-call]
        return {key: sorted(value) if isinstance(value, set) else value for key, value in values.items()}


def add_adapter(network: nn.Module, settings: LoraSettings, targets: tuple[str, ...], component: str) -> Adapter:
    """Put adapters beside the layers whose names end as one of `targets` says; they start as no change.

    Raises:
        InputError: A target fits no layer, or a layer that cannot have an adapter.
    """
    from peft import LoraConfig, inject_adapter_in_model

    from terrasynth.errors import nearest
    from terrasynth.synthesis.core.errors import one_line

    names = [name for name, _ in network.named_modules()]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            ends = sorted({name.rpartition(".")[2] for name, module in network.named_modules()
                           if isinstance(module, nn.Linear | nn.Conv2d)} - set("0123456789"))
            raise InputError(f"model.lora.targets: {target!r} is no layer of the {component}{nearest(target, ends)}; "
                             f"its layers end in {', '.join(ends)}")
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha or settings.rank,  # type: ignore[arg-type]
                        lora_dropout=settings.dropout, target_modules=list(targets), init_lora_weights=True)
    try:
        inject_adapter_in_model(config, network, adapter_name=NAME)
    except ValueError as error:
        raise InputError(f"model.lora.targets {', '.join(targets)}: {one_line(error, 200)}") from None
    adapter = Adapter(network, config)
    for _, parameter in adapter.parameters():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    for dropout in adapter.dropouts():
        dropout.train()
    return adapter


def diffusers_arguments(adapters: Mapping[str, Adapter]) -> dict[str, Any]:
    """What `save_lora_weights` of a diffusers pipeline takes, for adapters by the component's name.

    The weights keep the names of `peft`: diffusers' older names, where only some layers have one, are not read back.
    """
    arguments: dict[str, Any] = {}
    for name, adapter in adapters.items():
        arguments[f"{name}_lora_layers"] = adapter.weights()
        arguments[f"{name}_lora_adapter_metadata"] = adapter.metadata()
    return arguments


def save_peft(adapter: Adapter, folder: Path) -> None:
    """The adapter as `peft.PeftModel.from_pretrained` reads it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"base_model.model.{name}": value for name, value in adapter.weights().items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(adapter.metadata(), indent=1, sort_keys=True) + "\n")
