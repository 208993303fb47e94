"""What every network that turns images into vectors does alike: batches, precision, unit length."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.images import check_images

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PRECISIONS = ("float32", "bfloat16", "float16")
AT_ONCE = 2**18
"""Pixels that a network looks at together on a CPU: 16 images of 128 px, 5 of 224 px. What its layers pass on is then
at most some 30 MB, which the allocator keeps and the processor's caches hold; more costs up to twice the time."""


def read_precision(dtype: str | torch.dtype | None) -> torch.dtype:
    """The type of the matrix products that a user asks for; None is `float32`.

    Raises:
        InputError: Another type.
    """
    import torch

    name = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    if name not in PRECISIONS:
        raise InputError(f"dtype {name!r} is not supported; use one of {', '.join(PRECISIONS)}")
    chosen: torch.dtype = getattr(torch, name)
    return chosen


def precision_name(model: PreTrainedModel, dtype: torch.dtype) -> str:
    """Such as "bfloat16 on cuda": what moves the last digits of features, and is no part of a model's identity."""
    return f"{str(dtype).removeprefix('torch.')} on {model.device.type}"


@contextmanager
def inference(model: PreTrainedModel, dtype: torch.dtype) -> Iterator[None]:
    """Without gradients, and with the matrix products of a model in `dtype`."""
    import torch

    autocast = torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32)
    with torch.inference_mode(), autocast:
        yield


def portion(size: int, device: torch.device) -> int:
    """How many images of `size` pixels a network looks at together: `AT_ONCE` pixels on a CPU, elsewhere any number.

    >>> import torch
    >>> from terrasynth.eval.models.inference import portion
    >>> portion(224 * 224, torch.device("cpu"))
    5
    """
    return max(1, AT_ONCE // size) if device.type == "cpu" else sys.maxsize


def in_batches(
    images: NDArray[np.uint8], batch_size: int, dim: int,
    encode: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Encode images a batch at a time.

    Args:
        images: `uint8` (N, H, W, 3).
        batch_size: Images in memory at a time.
        dim: Width D of the features, for the case of no images.
        encode: From one batch to its features.

    Returns:
        `float32` (N, D).

    Raises:
        TypeError: Not `uint8`.
        ValueError: Not (N, H, W, 3).
    """
    check_images(images)
    parts = [encode(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    return np.concatenate(parts) if parts else np.empty((0, dim), np.float32)


def unit_length(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of (N, D) divided by their L2 norm."""
    import torch
    import torch.nn.functional as F

    rows: NDArray[np.float32] = F.normalize(torch.from_numpy(features), dim=1).numpy()
    return rows
