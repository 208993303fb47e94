"""State dictionaries as other projects publish them, on their way into a `transformers` folder.

A model reference never leads to a pickle. Converting is a step of its own, asked for by the user, and reads `.pt`,
`.pth` and `.bin` with torch's restricted unpickler, which builds tensors and plain containers and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.errors import one_line
from terrasynth.eval.errors import InputError
from terrasynth.eval.models.references import PICKLED_SUFFIXES

if TYPE_CHECKING:
    import torch

StateDict = Mapping[str, "torch.Tensor"]


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint.

    Takes a plain state dictionary, or one inside a training checkpoint's `state_dict`; a prefix `module.`, which data
    parallel training leaves, is dropped.

    Args:
        path: A `.safetensors` file, or a file of `torch.save`.

    Raises:
        InputError: No such file, an unknown suffix, a file that needs more than tensors, or one without tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"checkpoint {str(path)!r}: no such file; give a .safetensors or .pt file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"checkpoint {str(path)!r} cannot be read: {one_line(error)}; copy it again") from error
    if path.suffix not in PICKLED_SUFFIXES:
        raise InputError(f"checkpoint {str(path)!r}: unknown suffix {path.suffix!r}; give a .safetensors or .pt file")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has a class of error for every way in which a file can be damaged
        raise InputError(
            f"checkpoint {str(path)!r} holds more than tensors, or is damaged: {one_line(error, 160)}; save "
            "model.state_dict() alone, as .safetensors"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise InputError(f"checkpoint {str(path)!r} holds no named tensors; save model.state_dict()")
    return tensors


def check_shapes(state: StateDict, expected: StateDict, what: str) -> None:
    """Compare names and shapes before loading.

    Args:
        what: The network, in the words of the message.

    Raises:
        InputError: A tensor is missing, has another shape, or belongs to no part of the network.
    """
    if missing := sorted(expected.keys() - state.keys()):
        raise InputError(f"checkpoint: {len(missing)} tensors of {what} are missing, such as {missing[0]!r}; "
                         "it belongs to another network")
    if unknown := sorted(state.keys() - expected.keys()):
        raise InputError(f"checkpoint: {len(unknown)} tensors are no part of {what}, such as {unknown[0]!r}; "
                         "it belongs to another network")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise InputError(f"checkpoint: {name!r} has shape {tuple(state[name].shape)}, and {what} needs "
                             f"{tuple(tensor.shape)}; check the configuration")
