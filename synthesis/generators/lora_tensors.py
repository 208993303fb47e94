"""The tensors of a LoRA on their way into a network: kohya's names and alphas resolved, and a check that all arrived.

The libraries load what fits and leave the rest out with a remark in the log. So what the network holds afterwards is
compared with what the file holds, by content, since the libraries rename layers on the way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

DOWN, UP, ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"
# Prefixes of kohya's trainers and the components that they stand for; the first that a pipeline has is meant.
COMPONENTS = (("lora_unet_", "unet"), ("lora_te1_", "text_encoder"), ("lora_te2_", "text_encoder_2"),
              ("lora_te_", "text_encoder"))
WRAPPER = "text_model."
"""In the names of a text encoder's layers until transformers 5.6 took it out of `CLIPTextModel`."""


def without_alphas(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Kohya's tensors with each layer's factor, alpha / rank, multiplied into `lora_up` and the alphas left out.

    diffusers carries alphas beside the tensors, under names that it renames in another way than those of the layers.

    Raises:
        ValueError: An alpha belongs to no layer, or is no number above 0.
    """
    found = {name: tensor for name, tensor in tensors.items() if not name.endswith(ALPHA)}
    for name, alpha in tensors.items():
        if not name.endswith(ALPHA):
            continue
        layer = name.removesuffix(ALPHA)
        if layer + UP not in found or layer + DOWN not in found or alpha.numel() != 1 or not float(alpha) > 0:
            raise ValueError(f"{name!r} is no alpha of a layer of the file")
        factor = float(alpha) / found[layer + DOWN].shape[0]
        found[layer + UP] = found[layer + UP].float() * factor
    return found


def named_as_modules(tensors: Tensors, pipeline: Any) -> dict[str, torch.Tensor]:  # noqa: ANN401
    """Kohya's tensors under the names that diffusers writes, where each of them names a layer of the pipeline.

    Kohya's names are those of the layers with `_` for `.`, which is exact where the trained network was that of
    diffusers. Others (SDXL, trained in its authors' network) are left as they are: diffusers knows how these map.
    """
    layers = dict(_kohya_names(pipeline))
    found = {}
    for name, tensor in tensors.items():
        layer, _, suffix = name.partition(".")
        kind = {DOWN: "lora_A.weight", UP: "lora_B.weight"}.get(f".{suffix}")
        if layer not in layers or kind is None:
            return dict(tensors)
        found[f"{layers[layer]}.{kind}"] = tensor
    return found


def check_arrived(pipeline: Any, tensors: Tensors) -> None:  # noqa: ANN401 - a pipeline of any class
    """Check that the adapters that a pipeline holds are the tensors of a file: all of them, and no others.

    Raises:
        ValueError: A tensor of the file is in none of its networks, or a layer was given no tensor of the file.
    """
    held: dict[tuple[torch.dtype, str], str] = {}
    for place, parameter in _adapter_parameters(pipeline):
        held[parameter.dtype, _content(parameter)] = place
    kinds = {dtype for dtype, _ in held}
    wanted = {name: {(dtype, _content(tensor.to(dtype))) for dtype in kinds} for name, tensor in tensors.items()}
    left = sorted(name for name, contents in wanted.items() if not contents & held.keys())
    if left:
        raise ValueError(f"{len(left)} of its {len(tensors)} tensors are of no layer of this pipeline, as {left[0]!r}")
    known = set().union(*wanted.values())
    empty = sorted(place for key, place in held.items() if key not in known)
    if empty:
        raise ValueError(f"it has no tensors for {len(empty)} layers that its configuration names, as {empty[0]!r}")
    _check_patterns(pipeline)


def wrapped_otherwise(tensors: Tensors, network: Any) -> tuple[str, str] | None:  # noqa: ANN401
    """How names of a text encoder's layers have to be changed for a network: (from, to), or None for not at all.

    Args:
        tensors: Of a LoRA as peft writes it.
    """
    has = hasattr(network, WRAPPER.rstrip("."))
    says = any(name.removeprefix("base_model.model.").startswith(WRAPPER) for name in tensors)
    if has == says:
        return None
    if says:
        return WRAPPER, ""
    flat = [name for name in tensors if name.removeprefix("base_model.model.").startswith(("encoder.", "embeddings."))]
    return ("", WRAPPER) if len(flat) == len(tensors) else None


def _kohya_names(pipeline: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    for prefix, component in COMPONENTS:
        network = getattr(pipeline, component, None)
        for name, _ in network.named_modules() if network is not None else ():
            yield prefix + name.replace(".", "_"), f"{component}.{name}"
            if component != "unet" and not name.startswith(WRAPPER):
                yield prefix + (WRAPPER + name).replace(".", "_"), f"{component}.{name}"


def _adapter_layers(pipeline: Any) -> Iterator[tuple[str, str, Any]]:  # noqa: ANN401
    """Component, name and module of each layer that an adapter was added to."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch.nn import Module

    for component, network in pipeline.components.items():
        for name, module in network.named_modules() if isinstance(network, Module) else ():
            if isinstance(module, BaseTunerLayer):
                yield component, name, module


def _adapter_parameters(pipeline: Any) -> Iterator[tuple[str, torch.Tensor]]:  # noqa: ANN401
    for component, name, module in _adapter_layers(pipeline):
        for kind in module.adapter_layer_names:
            held = getattr(module, kind, None)
            for parameter in held.parameters() if held is not None else ():
                yield f"{component}.{name}.{kind}", parameter.detach()


def _check_patterns(pipeline: Any) -> None:  # noqa: ANN401
    """Refuse ranks and alphas that are kept under the name of a layer that there is not: they would not count."""
    names: dict[str, list[str]] = {}
    for component, name, _ in _adapter_layers(pipeline):
        names.setdefault(component, []).append(name)
    for component, known in names.items():
        for config in getattr(pipeline.components[component], "peft_config", {}).values():
            for pattern in (*getattr(config, "rank_pattern", {}), *getattr(config, "alpha_pattern", {})):
                if not any(re.match(rf"(.*\.)?({pattern})$", name) for name in known):
                    raise ValueError(f"its configuration has a rank or an alpha for {pattern!r}, which is no layer of "
                                     f"the {component}")


def _content(tensor: torch.Tensor) -> str:
    import torch

    values = tensor.contiguous().cpu().flatten()
    return hashlib.sha256(values.view(torch.uint8).numpy().tobytes()).hexdigest() + str(values.numel())
