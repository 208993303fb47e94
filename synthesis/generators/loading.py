"""A diffusers pipeline from its files, as a generator's settings and a run's runtime want it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.errors import nearest
from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.library_errors import library_errors
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.generators.autoencoder_swap import swap_autoencoder
from terrasynth.synthesis.generators.base import GeneratorSource
from terrasynth.synthesis.generators.components import load_networks, parts_of
from terrasynth.synthesis.generators.conditions.layout import ARGUMENTS
from terrasynth.synthesis.generators.control import add_control
from terrasynth.synthesis.generators.lora import Lora
from terrasynth.synthesis.generators.lora_folding import fold_in
from terrasynth.synthesis.generators.model_index import read_index
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.generators.text_cache import cache_texts

if TYPE_CHECKING:
    import torch

NEEDED = ("prompt", "guidance_scale", "generator", "output_type")
RESERVED = ("height", "width", "num_images_per_prompt", "return_dict", "latents", "self", "kwargs",
            *ARGUMENTS)


def load_pipeline(source: GeneratorSource, runtime: Runtime, dtype: torch.dtype) -> Any:  # noqa: ANN401 - any class
    """Load a text-to-image pipeline.

    Args:
        runtime: Device and ways of computing; `compile` is not done here.

    Raises:
        InputError: The files, the LoRA, the autoencoder or a setting do not fit, or the runtime cannot be had.
    """
    pipeline = _read(source, dtype)
    if source.control is not None:
        pipeline = add_control(pipeline, source.control, dtype, source.name.partition("+")[0])
    accepted = inspect.signature(pipeline.__call__).parameters
    needed = NEEDED if source.draws_tokens else (*NEEDED, "num_inference_steps")
    lacking = [name for name in needed if name not in accepted]
    if lacking:
        raise InputError(
            f"model {source.name!r} is a {type(pipeline).__name__}, which takes no {', '.join(lacking)}; "
            "give a text-to-image pipeline"
        )
    _check_options(source, pipeline, [name for name in accepted if name not in (*needed, *RESERVED)])
    if not source.draws_tokens:
        if source.scheduler != "auto":
            pipeline.scheduler = _scheduler(source.scheduler, pipeline.scheduler)
        elif source.lora is not None and source.lora.scheduler is not None:
            pipeline.scheduler = _beside(source.lora, source.lora.scheduler)
        _check_steps(source, pipeline.scheduler)
    if source.vae is not None:
        swap_autoencoder(pipeline, source.vae, dtype, source.name.partition("+")[0])
    if source.lora is not None:
        fold_in(pipeline, source.lora, source.name.partition("+")[0])
    pipeline.set_progress_bar_config(disable=True)
    return _placed(pipeline, runtime)


def denoiser_name(pipeline: Any) -> str | None:  # noqa: ANN401
    """The component that is asked at every step; None where there is none by a usual name."""
    return next((name for name in ("unet", "transformer") if getattr(pipeline, name, None) is not None), None)


def can_slice(vae: Any) -> bool:  # noqa: ANN401
    """Whether an autoencoder decodes latents one by one when told to; all of diffusers take the call, some raise."""
    return hasattr(vae, "enable_slicing") and hasattr(vae, "use_slicing")


def _read(source: GeneratorSource, dtype: torch.dtype) -> Any:  # noqa: ANN401
    def explain(reason: str) -> str:
        return (f"model {source.name!r} cannot be loaded: {reason}; it has to be a diffusers pipeline with safetensors "
                "weights")

    with quiet(), library_errors(explain):
        parts = parts_of(read_index(source.folder, source.name), source.name)
        networks = load_networks(source.folder, parts, dtype, source.name)
        pipeline = _pipeline_class(source).from_pretrained(
            source.folder, use_safetensors=True, dtype=dtype, local_files_only=True, **networks
        )
    if getattr(pipeline, "watermark", None) is not None:
        # A watermark in the pixels comes with some package being installed, and would decide an image.
        pipeline.watermark = None
    return pipeline


def _placed(pipeline: Any, runtime: Runtime) -> Any:  # noqa: ANN401
    """The pipeline on its device, computing as the runtime says."""
    import torch

    vae = getattr(pipeline, "vae", None)
    if runtime.attention == "xformers":
        try:
            pipeline.enable_xformers_memory_efficient_attention()
        except (ImportError, ValueError, AttributeError, NotImplementedError) as error:
            raise InputError(f"runtime.attention 'xformers' cannot be had for a {type(pipeline).__name__}: "
                             f"{one_line(error, 160)}; set it to auto") from error
    if runtime.vae_slicing and vae is not None and can_slice(vae):
        vae.enable_slicing()
    if runtime.offload == "model":
        pipeline.enable_model_cpu_offload(device=runtime.device)
    else:
        pipeline.to(runtime.device)
    if runtime.arithmetic >= 2:
        cache_texts(pipeline)
        if vae is not None and runtime.on_cpu:
            vae.to(memory_format=torch.channels_last)  # for the U-Net it is slower
    return pipeline


def _pipeline_class(source: GeneratorSource) -> Any:  # noqa: ANN401 - diffusers is untyped
    if source.draws_tokens:
        from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline

        return Txt2ImgMHNPipeline
    from diffusers import DiffusionPipeline

    return DiffusionPipeline


def _check_options(source: GeneratorSource, pipeline: Any, known: Sequence[str]) -> None:  # noqa: ANN401
    for name in source.options:
        if name not in known:
            raise InputError(f"generator.options.{name} is no option of a {type(pipeline).__name__}"
                             f"{nearest(name, known)}; there are: {', '.join(sorted(known))}")
    if source.draws_tokens:
        try:
            pipeline.check_sampling(**{key: value for key, value in source.options.items() if key != "use_cache"})
        except (ValueError, TypeError) as error:
            raise InputError(f"generator.options: {one_line(error)}") from error


def _scheduler(name: str, current: Any) -> Any:  # noqa: ANN401 - schedulers share no class
    known: Mapping[str, Any] = {each.__name__: each for each in current.compatibles}
    if name not in known:
        raise InputError(f"scheduler {name!r} does not fit{nearest(name, known)}; use auto, {', '.join(sorted(known))}")
    try:
        with quiet():
            return known[name].from_config(current.config)
    except (ImportError, ValueError, TypeError, NotImplementedError) as error:
        raise InputError(f"scheduler {name!r} cannot be used with this model: {one_line(error, 200)}; "
                         "use auto or another") from error


def _beside(lora: Lora, path: Path) -> Any:  # noqa: ANN401 - schedulers share no class
    """The scheduler that a LoRA brings: a student of few steps takes other steps than its teacher."""
    import diffusers

    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = getattr(diffusers, config["_class_name"])
        if not issubclass(kind, diffusers.SchedulerMixin):
            raise TypeError(f"{kind.__name__} is no scheduler")
        with quiet():
            return kind.from_config(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"LoRA {lora.name!r}: {path.parent.name}/{path.name} is no scheduler of diffusers "
                         f"({one_line(error, 120)}); set generator.scheduler") from error


def _check_steps(source: GeneratorSource, scheduler: Any) -> None:  # noqa: ANN401
    if scheduler.config.get("use_dynamic_shifting"):
        return  # its times depend on the image
    try:
        scheduler.set_timesteps(source.steps)
    except (ValueError, IndexError, AssertionError) as error:
        raise InputError(f"generator.steps {source.steps} cannot be taken with the {type(scheduler).__name__}: "
                         f"{one_line(error, 160)}") from error
