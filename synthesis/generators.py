"""Generators: what draws a picture from a prompt and a seed, and how a model reference becomes one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from synthesis.errors import InputError, one_line

WEIGHTS = Path(__file__).parent / "weights"
TOKEN_PIPELINE = "Txt2ImgMHNPipeline"  # of ours, so diffusers cannot find it by name; draws tokens, not by steps
Option = bool | int | float | str
log = logging.getLogger("terrasynth")


class Generator(Protocol):
    """What the pipeline asks of anything that draws.

    Attributes:
        source: Its files and settings.
        micro_batch: Pictures drawn at once; falls when memory runs out.
    """

    source: GeneratorSource
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
        pipeline: Class of the pipeline.
        steps: Times the network is asked for one picture: denoising steps, or tokens.
        options: Further arguments of the pipeline's call.
    """

    name: str
    revision: str
    folder: Path
    pipeline: str
    steps: int
    guidance: float
    scheduler: str
    height: int | None
    width: int | None
    options: Mapping[str, Option] = field(default_factory=dict)

    @property
    def draws_tokens(self) -> bool:
        """Whether a picture is drawn token by token, so that steps, scheduler and size are the model's own."""
        return self.pipeline == TOKEN_PIPELINE

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides a picture besides prompt and seed; no paths."""
        return {
            "revision": self.revision,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": self.scheduler,
            "height": self.height,
            "width": self.width,
        } | ({"options": dict(self.options)} if self.options else {})


def find_generator(
    reference: str,
    steps: int = 20,
    guidance: float = 3.0,
    scheduler: str = "auto",
    height: int | None = None,
    width: int | None = None,
    options: Mapping[str, Option] | None = None,
) -> GeneratorSource:
    """Find a generator's files without loading them. A Hub model that is not cached yet is fetched.

    Args:
        reference: Embedded name, folder, or Hub id with optional @revision.
        steps: Denoising steps; a generator that draws tokens takes as many as a picture has, whatever this says.
        guidance: Classifier-free guidance scale, >= 0.
        scheduler: "auto" for the pipeline's own, or the name of a diffusers scheduler class.
        height: Pixels; None for the model's own.
        width: Pixels; None for the model's own.
        options: Further arguments of the pipeline's call, such as {"top_k": 100}.

    Raises:
        InputError: No such model, or no pipeline in it (`eval.errors.InputError` for an unknown plain name), or a
            setting that this kind of generator does not have.
    """
    from eval import models

    found = models.resolve(reference, [WEIGHTS])
    if found.embedded or found.local:
        folder = Path(found.location)
        name, revision = (reference if found.embedded else folder.resolve().name), models.content_hash(folder)
    else:
        folder = _fetch(found.location, found.revision)
        name, revision = found.location, folder.name
    pipeline = _pipeline_class(folder, reference)
    if pipeline == TOKEN_PIPELINE:
        if (scheduler, height, width) != ("auto", None, None):
            raise InputError(f"model {reference!r} draws tokens: it has no scheduler and one picture size; "
                             "leave generator.scheduler, height and width out")
        steps = _number_of_tokens(folder, reference)
    return GeneratorSource(
        name, revision, folder, pipeline, steps, float(guidance), scheduler, height, width, dict(options or {})
    )


def _pipeline_class(folder: Path, reference: str) -> str:
    index = folder / "model_index.json"
    if not index.is_file():
        raise InputError(
            f"model {reference!r} has no model_index.json, so it is no text-to-image pipeline; "
            "give a folder saved with save_pretrained() of a diffusers pipeline"
        )
    return str(_read(index, reference).get("_class_name", ""))


def _number_of_tokens(folder: Path, reference: str) -> int:
    side = _read(folder / "transformer" / "config.json", reference).get("side")
    if not isinstance(side, int):
        raise InputError(f"model {reference!r}: transformer/config.json does not say 'side'; save the pipeline again")
    return side * side


def _read(path: Path, reference: str) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"model {reference!r}: {path.name} cannot be read ({one_line(error)[:100]})") from error
    if not isinstance(content, dict):
        raise InputError(f"model {reference!r}: {path.name} is no JSON object")
    return content


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
    options: Mapping[str, Option] | None = None,
) -> Generator:
    """Load a text-to-image generator.

    Args:
        reference: Embedded name, folder, or Hub id with optional @revision.
        steps: Denoising steps; a generator that draws tokens takes as many as a picture has, whatever this says.
        guidance: Classifier-free guidance scale, >= 0.
        scheduler: "auto" for the pipeline's own, or the name of a diffusers scheduler class.
        device: "auto" or a torch device.
        dtype: "auto", "float32", "bfloat16" or "float16".
        micro_batch: Pictures drawn at once; halved when memory runs out.
        height: Pixels; None for the model's own.
        width: Pixels; None for the model's own.
        options: Further arguments of the pipeline's call, such as {"top_k": 100}.

    Raises:
        InputError: The model, the scheduler, the device, the dtype or an option does not exist.
    """
    from synthesis.runtime import DTYPES, best_device, check_device, choose_dtype, first_micro_batch

    if dtype not in ("auto", *DTYPES):
        raise InputError(f"dtype {dtype!r} is unknown; use auto, {', '.join(DTYPES)}")
    source = find_generator(reference, steps, guidance, scheduler, height, width, options)
    device = best_device() if device == "auto" else device
    check_device(device)
    dtype = choose_dtype(device)[0] if dtype == "auto" else dtype
    if micro_batch == "auto":
        micro_batch = first_micro_batch(device, source.draws_tokens)
    return open_generator(source, device, dtype, micro_batch)


def open_generator(source: GeneratorSource, device: str, dtype: str, micro_batch: int) -> Generator:
    """Load the weights of a generator that was found.

    Args:
        source: Its files and settings.
        device: A torch device.
        dtype: "float32", "bfloat16" or "float16".
        micro_batch: Pictures drawn at once; halved when memory runs out.

    Raises:
        InputError: The files are no text-to-image pipeline with safetensors weights.
    """
    from synthesis.diffusers_generator import DiffusersGenerator

    return DiffusersGenerator(source, device, dtype, micro_batch)


def _fetch(identifier: str, revision: str | None) -> Path:
    from diffusers import DiffusionPipeline
    from huggingface_hub import constants, hf_hub_download

    log.warning("model %s: asking %s", identifier, constants.ENDPOINT)
    try:
        index = Path(hf_hub_download(identifier, "model_index.json", revision=revision))
        if _pipeline_class(index.parent, identifier) == TOKEN_PIPELINE:
            from synthesis.mhn_pipeline import Txt2ImgMHNPipeline

            return Path(Txt2ImgMHNPipeline.download(identifier, revision=revision))
        return Path(DiffusionPipeline.download(identifier, revision=revision, use_safetensors=True))
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {identifier!r} is not embedded, not a folder, and cannot be fetched from the Hub "
            f"({one_line(error)[:160]}); run `terrasynth models` for the embedded ones"
        ) from error
