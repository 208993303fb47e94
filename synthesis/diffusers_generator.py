"""The generator that drives any diffusers text-to-image pipeline."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthesis.errors import InputError, RunError, nearest, one_line
from synthesis.generators import GeneratorSource
from synthesis.quiet import quiet

if TYPE_CHECKING:
    import torch

NEEDED = ("prompt", "guidance_scale", "generator", "output_type")
RESERVED = ("height", "width", "num_images_per_prompt", "return_dict", "latents", "self", "kwargs")
log = logging.getLogger("terrasynth")


class DiffusersGenerator:
    """Any diffusers text-to-image pipeline.

    Attributes:
        source: Its files and settings.
        pipeline: The loaded pipeline.
        micro_batch: Pictures drawn at once; halved for good when memory runs out.
    """

    def __init__(self, source: GeneratorSource, device: str, dtype: str, micro_batch: int) -> None:
        import torch

        self.source = source
        self.micro_batch = micro_batch
        # On a CPU the weights stay float32 and autocast computes in bfloat16: the noise and the sampler's sums keep
        # full precision, and a seed means the same noise in either precision.
        self._autocast = device == "cpu" and dtype == "bfloat16"
        self.pipeline = _load_pipeline(source, device, torch.float32 if self._autocast else getattr(torch, dtype))
        size = self._native_size()
        self._size = (source.height or size[0], source.width or size[1])

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides a picture besides prompt and seed; no paths."""
        return self.source.identity()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture in pixels."""
        return self._size

    @property
    def token_limit(self) -> int | None:
        """Most tokens of a prompt, begin and end marks included; None when there is no limit."""
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        # transformers gives an absurdly large number where the tokenizer's files name no limit.
        limit = getattr(tokenizer, "model_max_length", None)
        return int(limit) if limit is not None and limit < 1_000_000 else None

    def count_tokens(self, text: str) -> int:
        """Tokens of a prompt, begin and end marks included; 0 for a pipeline without a tokenizer."""
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        return 0 if tokenizer is None else len(tokenizer(text, truncation=False, verbose=False).input_ids)

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """Draw pictures.

        Args:
            prompts: N texts.
            seeds: N seeds, 0 .. 2**63 - 1; one noise generator each, on the CPU.

        Returns:
            uint8 (N, H, W, 3). The model's range -1 .. 1 maps to 0 .. 255 for every picture alike.

        Raises:
            InputError: `prompts` and `seeds` differ in length, or the pipeline refuses an option's value.
            RunError: Not even one picture fits into memory, or the model gave no finite numbers.
        """
        if len(prompts) != len(seeds):
            raise InputError(f"{len(prompts)} prompts with {len(seeds)} seeds; give one seed a prompt")
        pictures: list[NDArray[np.uint8]] = []
        done = 0
        while done < len(prompts):
            part = slice(done, done + self.micro_batch)
            try:
                drawn = self._draw(list(prompts[part]), seeds[part])
            except (RuntimeError, MemoryError) as error:
                self._halve(error)
                continue
            except (ValueError, TypeError) as error:
                if not self.source.options:
                    raise
                raise InputError(f"model {self.source.name!r} does not take generator.options "
                                 f"{dict(self.source.options)}: {one_line(error)[:160]}") from error
            pictures.append(drawn)
            done += len(drawn)
        return np.concatenate(pictures) if pictures else np.empty((0, *self.size, 3), np.uint8)

    def _draw(self, prompts: list[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        import torch

        noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        cast = torch.autocast("cpu", dtype=torch.bfloat16) if self._autocast else nullcontext()
        options = dict(self.source.options)
        sizes = {"height": self.source.height, "width": self.source.width}
        options |= {name: value for name, value in sizes.items() if value is not None}
        if not self.source.draws_tokens:
            options["num_inference_steps"] = self.source.steps
        # Not inference_mode: under it autocast casts every weight anew in every step.
        with torch.no_grad(), cast:
            drawn = self.pipeline(
                prompt=prompts,
                guidance_scale=self.source.guidance,
                generator=noise,
                output_type="np",
                **options,
            ).images
        drawn = np.asarray(drawn, dtype=np.float32)
        if not np.isfinite(drawn).all():
            raise RunError("the generator gave numbers that are not finite; set runtime.dtype to float32")
        pictures: NDArray[np.uint8] = np.rint(drawn.clip(0, 1) * 255).astype(np.uint8)
        return pictures

    def _halve(self, error: RuntimeError | MemoryError) -> None:
        text = str(error).lower()
        if isinstance(error, RunError) or not (
            isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
        ):
            raise error
        if self.micro_batch == 1:
            raise RunError(f"not even one picture fits into memory: {one_line(error)[:120]}") from error
        self.micro_batch = max(1, self.micro_batch // 2)
        log.warning("out of memory: micro_batch is now %d", self.micro_batch)
        _empty_cache()

    def _native_size(self) -> tuple[int, int]:
        if self.source.draws_tokens:
            rows, columns = self.pipeline.size
            return int(rows), int(columns)
        network = getattr(self.pipeline, "unet", None) or getattr(self.pipeline, "transformer", None)
        sample = getattr(getattr(network, "config", None), "sample_size", None)
        if sample is None:
            raise InputError(
                f"model {self.source.name!r} does not say its picture size; set generator.height and width"
            )
        rows, columns = (sample, sample) if isinstance(sample, int) else sample
        scale = int(getattr(self.pipeline, "vae_scale_factor", 8))
        return rows * scale, columns * scale


def _load_pipeline(source: GeneratorSource, device: str, dtype: torch.dtype) -> Any:  # noqa: ANN401 - a pipeline of any class
    try:
        with quiet():
            pipeline = _pipeline_class(source).from_pretrained(
                source.folder, use_safetensors=True, dtype=dtype, local_files_only=True
            )
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"model {source.name!r} cannot be loaded: {one_line(error)[:200]}; it has to be a diffusers pipeline "
            "with safetensors weights"
        ) from error
    accepted = inspect.signature(pipeline.__call__).parameters
    needed = NEEDED if source.draws_tokens else (*NEEDED, "num_inference_steps")
    lacking = [name for name in needed if name not in accepted]
    if lacking:
        raise InputError(
            f"model {source.name!r} is a {type(pipeline).__name__}, which takes no {', '.join(lacking)}; "
            "give a text-to-image pipeline"
        )
    _check_options(source, pipeline, [name for name in accepted if name not in (*needed, *RESERVED)])
    if source.scheduler != "auto":
        pipeline.scheduler = _scheduler(source.scheduler, pipeline.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _pipeline_class(source: GeneratorSource) -> Any:  # noqa: ANN401 - diffusers is untyped
    if source.draws_tokens:
        from synthesis.mhn_pipeline import Txt2ImgMHNPipeline

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
    return known[name].from_config(current.config)


def _empty_cache() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
