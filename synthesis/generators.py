"""Generators: what draws a picture from a prompt and a seed, and the one that speaks diffusers."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from synthesis.errors import InputError, RunError, nearest, one_line

WEIGHTS = Path(__file__).parent / "weights"
NEEDED = ("prompt", "num_inference_steps", "guidance_scale", "generator", "output_type")
log = logging.getLogger("terrasynth")


class Generator(Protocol):
    """What the pipeline asks of anything that draws."""

    micro_batch: int

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides a picture besides prompt and seed; no paths."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture in pixels."""

    @property
    def token_limit(self) -> int | None:
        """Most tokens of a prompt, or None when there is no limit."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a prompt, begin and end marks included."""

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """Pictures, uint8 (N, H, W, 3); picture i depends on prompt i and seed i."""


@dataclass(frozen=True)
class GeneratorSource:
    """A generator's files, found, with the settings that decide its pictures.

    Attributes:
        name: What data set rows call it: embedded name, Hub id, or the name of a local folder.
        revision: Commit on the Hub, or content hash of the files.
        folder: Where the files are.
    """

    name: str
    revision: str
    folder: Path
    steps: int
    guidance: float
    scheduler: str
    height: int | None
    width: int | None

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides a picture besides prompt and seed; no paths."""
        return {
            "revision": self.revision,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": self.scheduler,
            "height": self.height,
            "width": self.width,
        }


def find_generator(
    reference: str,
    steps: int = 20,
    guidance: float = 3.0,
    scheduler: str = "auto",
    height: int | None = None,
    width: int | None = None,
) -> GeneratorSource:
    """Find a generator's files without loading them. A Hub model that is not cached yet is fetched.

    Args:
        reference: Embedded name, folder, or Hub id with optional @revision.
        steps: Denoising steps.
        guidance: Classifier-free guidance scale, >= 0.
        scheduler: "auto" for the pipeline's own, or the name of a diffusers scheduler class.
        height: Pixels; None for the model's own.
        width: Pixels; None for the model's own.

    Raises:
        InputError: No such model, or no pipeline in it (`eval.errors.InputError` for an unknown plain name).
    """
    from eval import models

    found = models.resolve(reference, [WEIGHTS])
    if found.embedded or found.local:
        folder = Path(found.location)
        name, revision = (reference if found.embedded else folder.resolve().name), models.content_hash(folder)
    else:
        folder = _fetch(found.location, found.revision)
        name, revision = found.location, folder.name
    if not (folder / "model_index.json").is_file():
        raise InputError(
            f"model {reference!r} has no model_index.json, so it is no text-to-image pipeline; "
            "give a folder saved with save_pretrained() of a diffusers pipeline"
        )
    return GeneratorSource(name, revision, folder, steps, float(guidance), scheduler, height, width)


def load_generator(
    reference: str,
    steps: int = 20,
    guidance: float = 3.0,
    scheduler: str = "auto",
    device: str = "auto",
    dtype: str = "auto",
    micro_batch: int | Literal["auto"] = "auto",
    height: int | None = None,
    width: int | None = None,
) -> DiffusersGenerator:
    """Load a text-to-image generator.

    Args:
        reference: Embedded name, folder, or Hub id with optional @revision.
        steps: Denoising steps.
        guidance: Classifier-free guidance scale, >= 0.
        scheduler: "auto" for the pipeline's own, or the name of a diffusers scheduler class.
        device: "auto" or a torch device.
        dtype: "auto", "float32", "bfloat16" or "float16".
        micro_batch: Pictures drawn at once; halved when memory runs out.
        height: Pixels; None for the model's own.
        width: Pixels; None for the model's own.

    Raises:
        InputError: The model, the scheduler, the device or the dtype does not exist.
    """
    from synthesis.runtime import DTYPES, best_device, check_device, choose_dtype, first_micro_batch

    if dtype not in ("auto", *DTYPES):
        raise InputError(f"dtype {dtype!r} is unknown; use auto, {', '.join(DTYPES)}")
    source = find_generator(reference, steps, guidance, scheduler, height, width)
    device = best_device() if device == "auto" else device
    check_device(device)
    dtype = choose_dtype(device)[0] if dtype == "auto" else dtype
    return DiffusersGenerator(source, device, dtype, first_micro_batch(device) if micro_batch == "auto" else micro_batch)


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
            InputError: `prompts` and `seeds` differ in length.
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
            pictures.append(drawn)
            done += len(drawn)
        return np.concatenate(pictures) if pictures else np.empty((0, *self.size, 3), np.uint8)

    def _draw(self, prompts: list[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        import torch

        noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        cast = torch.autocast("cpu", dtype=torch.bfloat16) if self._autocast else nullcontext()
        options = {} if self.source.height is None else {"height": self.source.height}
        options |= {} if self.source.width is None else {"width": self.source.width}
        with torch.inference_mode(), cast:
            drawn = self.pipeline(
                prompt=prompts,
                num_inference_steps=self.source.steps,
                guidance_scale=self.source.guidance,
                generator=noise,
                output_type="np",
                **options,
            ).images
        drawn = np.asarray(drawn, dtype=np.float32)
        if not np.isfinite(drawn).all():
            raise RunError("the generator gave numbers that are not finite; set runtime.dtype to float32")
        return np.rint(drawn.clip(0, 1) * 255).astype(np.uint8)

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
        network = getattr(self.pipeline, "unet", None) or getattr(self.pipeline, "transformer", None)
        sample = getattr(getattr(network, "config", None), "sample_size", None)
        if sample is None:
            raise InputError(f"model {self.source.name!r} does not say its picture size; set generator.height and width")
        rows, columns = (sample, sample) if isinstance(sample, int) else sample
        scale = int(getattr(self.pipeline, "vae_scale_factor", 8))
        return rows * scale, columns * scale


def _load_pipeline(source: GeneratorSource, device: str, dtype: Any) -> Any:
    try:
        with _quiet():
            from diffusers import DiffusionPipeline

            pipeline = DiffusionPipeline.from_pretrained(
                source.folder, use_safetensors=True, dtype=dtype, local_files_only=True
            )
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"model {source.name!r} cannot be loaded: {one_line(error)[:200]}; it has to be a diffusers pipeline "
            "with safetensors weights"
        ) from error
    accepted = inspect.signature(pipeline.__call__).parameters
    lacking = [name for name in NEEDED if name not in accepted]
    if lacking:
        raise InputError(
            f"model {source.name!r} is a {type(pipeline).__name__}, which takes no {', '.join(lacking)}; "
            "give a text-to-image pipeline"
        )
    if source.scheduler != "auto":
        pipeline.scheduler = _scheduler(source.scheduler, pipeline.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _scheduler(name: str, current: Any) -> Any:
    known: Mapping[str, Any] = {each.__name__: each for each in current.compatibles}
    if name not in known:
        raise InputError(f"scheduler {name!r} does not fit{nearest(name, known)}; use auto, {', '.join(sorted(known))}")
    return known[name].from_config(current.config)


def _fetch(identifier: str, revision: str | None) -> Path:
    from diffusers import DiffusionPipeline
    from huggingface_hub import constants

    log.warning("model %s: asking %s", identifier, constants.ENDPOINT)
    try:
        return Path(DiffusionPipeline.download(identifier, revision=revision, use_safetensors=True))
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {identifier!r} is not embedded, not a folder, and cannot be fetched from the Hub "
            f"({one_line(error)[:160]}); run `terrasynth models` for the embedded ones"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loading bars and remarks of diffusers and transformers off a user's screen."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
        library.set_verbosity_error()
    try:
        yield
    finally:
        for library, verbosity in zip(libraries, before, strict=True):
            library.enable_progress_bar()
            library.set_verbosity(verbosity)


def _empty_cache() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
