"""The kinds of pipeline that can be tuned, and how the one at hand is recognized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from terrasynth.training.errors import InputError
from terrasynth.training.tuning.families.base import Base, Family

if TYPE_CHECKING:
    import torch


def open_base(reference: str) -> Base:
    """Find a pipeline's files, from the Hub if need be, and recognize its kind by `model_index.json`.

    Raises:
        InputError: There is no such pipeline, or it is of a kind that cannot be tuned.
    """
    from terrasynth.synthesis.core.embedded import WEIGHTS
    from terrasynth.synthesis.generators.finding import find_generator
    from terrasynth.synthesis.recipe import GeneratorSettings
    from terrasynth.training.tuning.families.pixart import PixArtSigma
    from terrasynth.training.tuning.families.sd import StableDiffusion
    from terrasynth.training.tuning.families.sdxl import StableDiffusionXL

    known: dict[str, type[Family]] = {
        "StableDiffusionPipeline": StableDiffusion, "StableDiffusionXLPipeline": StableDiffusionXL,
        "PixArtSigmaPipeline": PixArtSigma,
    }
    source = find_generator(GeneratorSettings.of(reference))
    if source.pipeline not in known:
        raise InputError(f"--base {reference!r} is a {source.pipeline or 'model without a pipeline class'}, which "
                         f"cannot be tuned here; there are: {', '.join(sorted(known))}")
    inside = (WEIGHTS / source.name).is_dir()
    return Base(source.name, source.revision, source.folder, known[source.pipeline](),
                on_hub="/" in source.name and not inside)


def load_base(base: Base, dtype: torch.dtype, trained_dtype: torch.dtype, trained: Sequence[str]) -> Any:  # noqa: ANN401
    """Load the pipeline; `trained` components in `trained_dtype`, the autoencoder in float32, the rest in `dtype`.

    Raises:
        InputError: Weights that are missing, pickled or do not fit.
    """
    import torch
    from diffusers import DiffusionPipeline

    from terrasynth.synthesis.core.errors import one_line
    from terrasynth.synthesis.core.quiet import quiet
    from terrasynth.synthesis.generators.components import LEFT_OUT, missing_part, parts_of
    from terrasynth.synthesis.generators.model_index import read_index

    reference = f"--base {base.name!r}"
    for part in parts_of(read_index(base.folder, base.name), base.name):
        if part.name not in LEFT_OUT and not (base.folder / part.name).is_dir():
            raise InputError(missing_part(part, reference))
    kinds = {"default": dtype, "vae": torch.float32, **dict.fromkeys(trained, trained_dtype)}
    try:
        with quiet():
            pipeline = DiffusionPipeline.from_pretrained(base.folder, use_safetensors=True, dtype=kinds,
                                                         local_files_only=True, **base.family.left_out)
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{reference} cannot be loaded: {one_line(error, 200)}; it has to be a diffusers "
                         "pipeline with safetensors weights") from error
    pipeline.set_progress_bar_config(disable=True)
    for name in ("vae", base.family.denoiser, *base.family.text_encoders):
        getattr(pipeline, name).eval().requires_grad_(False)
    return pipeline
