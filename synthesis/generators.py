"""Generators: what draws a picture from a prompt and a seed, and how a model reference becomes one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from synthesis.errors import InputError, one_line

if TYPE_CHECKING:
    pass

WEIGHTS = Path(__file__).parent / "weights"
NEEDED = ("prompt", "num_inference_steps", "guidance_scale", "generator", "output_type")
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
) -> Generator:
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
    return open_generator(source, device, dtype, first_micro_batch(device) if micro_batch == "auto" else micro_batch)


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
    from huggingface_hub import constants

    log.warning("model %s: asking %s", identifier, constants.ENDPOINT)
    try:
        return Path(DiffusionPipeline.download(identifier, revision=revision, use_safetensors=True))
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {identifier!r} is not embedded, not a folder, and cannot be fetched from the Hub "
            f"({one_line(error)[:160]}); run `terrasynth models` for the embedded ones"
        ) from error
