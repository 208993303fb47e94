"""What a device can do, and in which portions it draws well."""

from __future__ import annotations

from typing import Literal

from terrasynth.errors import how_to_install
from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.machine import computes_bfloat16

Dtype = Literal["float32", "bfloat16", "float16"]
# Largest first micro-batch; running out of memory halves it.
CPU_MICRO_BATCH, ACCELERATOR_MICRO_BATCH = 8, 16
SMALL_LATENTS = 32  # up to this side, 16 images at once are safe on a CPU too, where no error comes before the kill
TOKEN_MICRO_BATCH = 32  # one token of many images costs little more than one token of one


def best_device() -> str:
    """The fastest device of this machine: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: str) -> None:
    """Check that a device exists here.

    Raises:
        InputError: It does not.
    """
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} cannot be used: {one_line(error, 120)}; use auto, which is {best_device()!r} here"
        ) from error


def check_attention(attention: str, device: str) -> None:
    """Check that a kind of attention can be had.

    Raises:
        InputError: It cannot.
    """
    from importlib.util import find_spec

    if attention != "xformers":
        return
    lacking = []
    if not device.startswith("cuda"):
        lacking.append(f"images are drawn on {device!r}, and it needs a CUDA device")
    if find_spec("xformers") is None:
        lacking.append(f"the package is not installed ({how_to_install('gpu')})")
    if lacking:
        raise InputError(f"runtime.attention 'xformers' cannot be had: {'; '.join(lacking)}; or set it to auto")


def check_offload(offload: str, device: str) -> None:
    """Check that a kind of offloading has something to do.

    Raises:
        InputError: It has not.
    """
    if offload != "none" and device.startswith("cpu"):
        raise InputError(f"runtime.offload {offload!r} cannot be had: images are drawn on the CPU, and it spares the "
                         "memory of a GPU; set it to none")


def first_micro_batch(device: str, draws_tokens: bool = False, latent_side: int | None = None) -> int:
    """Images to try at once on a device."""
    if draws_tokens:
        return TOKEN_MICRO_BATCH
    small = latent_side is not None and latent_side <= SMALL_LATENTS
    return ACCELERATOR_MICRO_BATCH if small or not device.startswith("cpu") else CPU_MICRO_BATCH


def choose_dtype(device: str) -> Dtype:
    """The precision that a device does well: what its units can do decides, never a clock."""
    import torch

    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if device.startswith("cpu") and computes_bfloat16() else "float32"
