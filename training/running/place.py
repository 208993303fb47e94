"""Where and how a process computes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import PartialState

PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Place:
    """Where and how a training computes.

    Attributes:
        precision: `loop.mixed_precision`.
        seed: Of views, and of noise in validation.
        cache: Folder of encoded images and texts.
    """

    device: torch.device
    precision: str
    seed: int
    cache: Path

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute as the loop does."""
        with torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=self.precision != "no"):
            yield

    @property
    def vae_precision(self) -> str:
        """Of encoding images; published autoencoders overflow in float16, so that stands for float32."""
        return "bf16" if self.precision == "bf16" else "no"

    @contextmanager
    def vae_autocast(self) -> Iterator[None]:
        """Encode images in `vae_precision`."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.vae_precision == "bf16"):
            yield

    def base_dtype(self, asked: str) -> torch.dtype:
        """Type of weights that stay as they are."""
        if asked != "auto":
            return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[asked]
        return torch.float32 if self.device.type == "cpu" else PRECISIONS[self.precision]


def hardware(device: torch.device) -> str:
    """What a training is recorded to have run on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def these_processes() -> PartialState:
    """The processes of this training, also those of `accelerate launch --cpu`, which the library's default misses."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def this_device() -> torch.device:
    """The device of this process: under `accelerate launch` each has one of its own."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
