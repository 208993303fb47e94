"""Write models the way their libraries read them: half precision, `safetensors`, with the preprocessing beside."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from diffusers import ModelMixin


def contiguous_copy(network: nn.Module, dtype: torch.dtype) -> Any:  # noqa: ANN401 - diffusers is untyped
    """A copy in another precision, laid out as `safetensors` wants it."""
    to: Any = nn.Module.to  # that of diffusers warns of parts that a network does not have
    return to(copy.deepcopy(network), dtype=dtype, memory_format=torch.contiguous_format)


def save_model(model: nn.Module, folder: Path) -> None:
    """`save_pretrained` in half precision; the model itself keeps its precision.

    The floating-point tensors are rounded to float16 on the way out; integer buffers stay as they are.
    """
    state: dict[str, Any] = {
        name: tensor.detach().cpu().to(torch.float16) if tensor.is_floating_point() else tensor.detach().cpu()
        for name, tensor in model.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PreTrainedModel):
        model.save_pretrained(folder, state_dict=state)
        return
    from safetensors.torch import save_file

    cast("ModelMixin", model).save_config(folder)
    contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(contiguous, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def write_preprocessor(folder: Path, size: int) -> None:
    """The preprocessing of every evaluator here: resize to `size`, scale to [-1, 1]."""
    content = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True, "size": {"height": size, "width": size}, "resample": 3,
        "do_center_crop": False, "do_convert_rgb": True,
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(content, indent=2) + "\n")
