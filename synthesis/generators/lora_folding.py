"""A LoRA added to the weights of a loaded pipeline, and the check that all of it was."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.library_errors import library_errors
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.generators.lora import PEFT_CONFIG, PEFT_FILE, TEXT_ENCODER, Lora
from terrasynth.synthesis.generators.lora_tensors import (
    DOWN,
    WRAPPER,
    check_arrived,
    named_as_modules,
    without_alphas,
    wrapped_otherwise,
)

SD_PARTS = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")


def fold_in(pipeline: Any, lora: Lora, model: str) -> None:  # noqa: ANN401 - a pipeline of any class
    """Add a LoRA to the weights of a loaded pipeline, so that it costs nothing in sampling.

    Args:
        model: What to call the pipeline in an error.

    Raises:
        InputError: It does not fit this pipeline, in part or wholly.
    """
    wanted = f"it was trained on {lora.base!r}: name that one" if lora.base else "name the model that it was trained on"
    wanted += " by --model, in a recipe by generator.model"

    def explain(reason: str) -> str:
        return f"LoRA {lora.name!r} does not fit the {type(pipeline).__name__} {model!r}: {reason}; {wanted}"

    try:
        import peft  # noqa: F401 - both ways need it
    except ImportError as error:
        raise InputError(f"LoRA {lora.name!r} needs peft ({one_line(error, 100)}); pip install peft") from error
    with quiet() as remarks, library_errors(explain):
        if lora.weights == PEFT_FILE:
            _merge_peft(pipeline, lora)
        else:
            _fuse_diffusers(pipeline, lora, remarks)


def _fuse_diffusers(pipeline: Any, lora: Lora, remarks: list[str]) -> None:  # noqa: ANN401
    from safetensors import safe_open

    pipeline = _taking_loras(pipeline)
    if not hasattr(pipeline, "load_lora_weights"):
        raise ValueError(f"this kind of pipeline takes no {lora.weights}, only {PEFT_FILE} as peft writes it")
    with safe_open(lora.folder / lora.weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if not tensors:
        raise ValueError(f"{lora.weights} holds no tensors")
    if any(name.endswith(DOWN) for name in tensors):
        tensors = without_alphas(tensors)
        pipeline.load_lora_weights(named_as_modules(tensors, pipeline))
    else:  # as a file, since its header may hold the adapter's configuration
        pipeline.load_lora_weights(lora.folder, weight_name=lora.weights, local_files_only=True)
    if not hasattr(pipeline, "unet"):  # there diffusers cuts and joins tensors, and says what it leaves out
        left = next((each for each in remarks if "nsupported keys" in each or "nexpected keys" in each), None)
        if left is not None:
            raise ValueError(left)
        converted = pipeline.lora_state_dict(dict(tensors))
        tensors = converted[0] if isinstance(converted, tuple) else converted
    check_arrived(pipeline, tensors)
    parts = [name for name, adapters in pipeline.get_list_adapters().items() if adapters]
    pipeline.fuse_lora(components=parts, lora_scale=lora.scale, safe_fusing=True)
    pipeline.unload_lora_weights()


def _taking_loras(pipeline: Any) -> Any:  # noqa: ANN401
    """The pipeline, or where diffusers forgot its loader, as with T2I-Adapters and GLIGEN, one of the same networks."""
    from diffusers import StableDiffusionPipeline

    parts = pipeline.components
    shared = {name: parts.get(name) for name in SD_PARTS}
    if hasattr(pipeline, "load_lora_weights") or any(part is None for part in shared.values()):
        return pipeline
    return StableDiffusionPipeline(**shared, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def _merge_peft(pipeline: Any, lora: Lora) -> None:  # noqa: ANN401
    name = "transformer" if getattr(pipeline, "transformer", None) is not None else "unet"
    for part, folder in ((name, lora.folder), (TEXT_ENCODER, lora.folder / TEXT_ENCODER)):
        if (folder / PEFT_CONFIG).exists() and not (folder / PEFT_FILE).is_file():
            raise ValueError(f"{part} has an {PEFT_CONFIG} and no {PEFT_FILE}")
        if (folder / PEFT_FILE).is_file():
            network = getattr(pipeline, part, None)
            if network is None:
                raise ValueError(f"there is no {part} to add {PEFT_FILE} to")
            setattr(pipeline, part, _merged(network, folder, lora.scale))


def _merged(network: Any, folder: Path, scale: float) -> Any:  # noqa: ANN401 - a network of any class
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer
    from safetensors import safe_open

    config = PeftConfig.from_pretrained(str(folder))
    with safe_open(folder / PEFT_FILE, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    change, mapping = wrapped_otherwise(tensors, network), None
    if change is not None:
        mapping = {rf"^{re.escape(change[0])}": change[1]}
        tensors = {_renamed(name, change): tensor for name, tensor in tensors.items()}
        for field in ("target_modules", "exclude_modules", "modules_to_save", "rank_pattern", "alpha_pattern"):
            setattr(config, field, _renamed_in(getattr(config, field, None), change))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers without weights it only warns, and goes on
        model = PeftModel.from_pretrained(network, str(folder), config=config, key_mapping=mapping)
    strangers = tensors.keys() ^ set(get_peft_model_state_dict(model))
    if strangers:
        raise ValueError(f"{len(strangers)} of its layers are none of this network's, as {min(strangers)}")
    layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers if scale != 1 else ():
        if not hasattr(layer, "scale_layer"):
            raise ValueError(f"an adapter of the kind {config.peft_type} has no factor; leave the scale at 1")
        layer.scale_layer(scale)
    return model.merge_and_unload(safe_merge=True)


def _renamed(name: str, change: tuple[str, str]) -> str:
    before, prefix, rest = name.rpartition("base_model.model.")
    return before + prefix + change[1] + rest.removeprefix(change[0])


def _renamed_in(value: Any, change: tuple[str, str]) -> Any:  # noqa: ANN401 - what a peft configuration may hold
    """Names of layers in a peft configuration; those that are only the end of a name, and patterns, stay."""
    if not isinstance(value, dict | list | set):
        return value

    def named(name: str) -> str:
        whole = name.startswith((WRAPPER, "encoder.", "embeddings."))
        return change[1] + name.removeprefix(change[0]) if whole else name

    if isinstance(value, dict):
        return {named(name): each for name, each in value.items()}
    return type(value)(named(name) for name in value)
