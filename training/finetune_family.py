"""The kinds of pipeline that can be tuned, and how the one at hand is recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from training.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

Conditions = dict[str, "torch.Tensor"]
"""What a network reads of a text, by the name of the pipeline's argument; the first axis counts texts."""

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
        """Write adapters (component name -> `training.lora.Adapter`) the way their library loads them."""


@dataclass(frozen=True)
class Base:
    """The pipeline that a training starts from.

    Attributes:
        name: Embedded name, Hub id, or name of a local folder.
        revision: Commit on the Hub, or content hash.
        folder: Where its files are.
        family: What is particular to its kind.
        on_hub: Whether `name` is a Hub id.
    """

    name: str
    revision: str
    folder: Path
    family: Family
    on_hub: bool


def open_base(reference: str) -> Base:
    """Find a pipeline's files, from the Hub if need be, and recognise its kind by `model_index.json`.

    Raises:
        InputError: There is no such pipeline, or it is of a kind that cannot be tuned.
    """
    from synthesis.generators import WEIGHTS, find_generator
    from synthesis.recipe import GeneratorSettings
    from training.finetune_pixart import PixArtSigma
    from training.finetune_sd import StableDiffusion
    from training.finetune_sdxl import StableDiffusionXL

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

    from synthesis.errors import one_line
    from synthesis.quiet import quiet

    kinds = {"default": dtype, "vae": torch.float32, **dict.fromkeys(trained, trained_dtype)}
    try:
        with quiet():
            pipeline = DiffusionPipeline.from_pretrained(base.folder, use_safetensors=True, dtype=kinds,
                                                         local_files_only=True, **base.family.left_out)
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"--base {base.name!r} cannot be loaded: {one_line(error)[:200]}; it has to be a diffusers "
                         "pipeline with safetensors weights") from error
    pipeline.set_progress_bar_config(disable=True)
    for name in ("vae", base.family.denoiser, *base.family.text_encoders):
        getattr(pipeline, name).eval().requires_grad_(False)
    return pipeline
