"""Inception-v3 as the Frechet inception distance uses it (Szegedy et al., CVPR 2016; Heusel et al., NeurIPS 2017).

The published weights of 2015-12-05 come from TensorFlow, whose network differs from the paper in three places: average
pools do not count their padding, the last block pools by maximum, and images are resized bilinearly from the top left
corner of their pixels, without antialiasing. The names of the parameters are those of the published checkpoints
(`pt_inception-2015-12-05`), so that these load as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.checkpoints import check_shapes, read_state_dict
from terrasynth.permissions import like_new_files

FID_INCEPTION = "fid-inception-v3"
SIDE, WIDTH, CLASSES = 299, 2048, 1008


class Conv(NamedTuple):
    """One convolution of a branch; its padding keeps the size, but with stride 2 there is none.

    Attributes:
        name: In the checkpoint.
        channels: That come out.
        kernel: Height and width.
        stride: 1 or 2.
    """

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


Branch = tuple[Conv | tuple[Conv, Conv], ...]
"""Convolutions one after the other; a pair at the end reads the same input and is stacked."""
Pool = Literal["average", "max", "halve"]
ROW, COLUMN, SMALL, LARGE = (1, 7), (7, 1), (3, 3), (5, 5)


class FidInceptionConfig(PreTrainedConfig):
    """The architecture has no choices; `hidden_size` is the width of its features."""

    model_type = FID_INCEPTION
    hidden_size = WIDTH


class NormedConv(nn.Module):
    """Convolution without bias, batch normalization, rectifier."""

    def __init__(
        self, inputs: int, channels: int, kernel: tuple[int, int], stride: int, padding: tuple[int, int]
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) to (N, channels, H', W')."""
        return F.relu(self.bn(self.conv(x)))


class MixedBlock(nn.Module):
    """Branches side by side and a pool, stacked along the channels.

    Attributes:
        channels: That come out.
    """

    def __init__(self, inputs: int, branches: Sequence[Branch], pool: Pool, pooled: int = 0) -> None:
        """Build the block.

        Args:
            inputs: Channels that go in.
            branches: What stands beside the pool, in order.
            pool: "average" and "max" keep the size and end in a convolution; "halve" is a maximum of stride 2.
            pooled: Channels of the convolution behind the pool.
        """
        super().__init__()
        self.branches, self.pool = branches, pool
        self.channels = 0
        for branch in branches:
            width = inputs
            for step in branch:
                for conv in _convs(step):
                    padding = (conv.kernel[0] // 2, conv.kernel[1] // 2) if conv.stride == 1 else (0, 0)
                    self.add_module(conv.name, NormedConv(width, conv.channels, conv.kernel, conv.stride, padding))
                width = sum(conv.channels for conv in _convs(step))
            self.channels += width
        self.channels += pooled or inputs
        self.branch_pool = NormedConv(inputs, pooled, (1, 1), 1, (0, 0)) if pooled else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) to (N, channels, H', W')."""
        outputs = []
        for branch in self.branches:
            value = x
            for step in branch:
                value = torch.cat([self.get_submodule(conv.name)(value) for conv in _convs(step)], 1)
            outputs.append(value)
        return torch.cat([*outputs, self.branch_pool(self._pooled(x))], 1)

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool == "average":
            return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return F.max_pool2d(x, 3, 2) if self.pool == "halve" else F.max_pool2d(x, 3, 1, 1)


class FidInceptionModel(PreTrainedModel):
    """Pixels `float32` (N, 3, H, W), 0 to 255, to a pooled output (N, 2048)."""

    config_class = FidInceptionConfig
    main_input_name = "pixel_values"

    def __init__(self, config: FidInceptionConfig) -> None:
        super().__init__(config)
        self.Conv2d_1a_3x3 = NormedConv(3, 32, SMALL, 2, (0, 0))
        self.Conv2d_2a_3x3 = NormedConv(32, 32, SMALL, 1, (0, 0))
        self.Conv2d_2b_3x3 = NormedConv(32, 64, SMALL, 1, (1, 1))
        self.Conv2d_3b_1x1 = NormedConv(64, 80, (1, 1), 1, (0, 0))
        self.Conv2d_4a_3x3 = NormedConv(80, 192, SMALL, 1, (0, 0))
        blocks: dict[str, tuple[Sequence[Branch], Pool, int]] = {
            "5b": (_BLOCK_35, "average", 32), "5c": (_BLOCK_35, "average", 64), "5d": (_BLOCK_35, "average", 64),
            "6a": (_TO_17, "halve", 0),
            "6b": (_block_17(128), "average", 192), "6c": (_block_17(160), "average", 192),
            "6d": (_block_17(160), "average", 192), "6e": (_block_17(192), "average", 192),
            "7a": (_TO_8, "halve", 0), "7b": (_BLOCK_8, "average", 192), "7c": (_BLOCK_8, "max", 192),
        }
        self._mixed = tuple(f"Mixed_{name}" for name in blocks)
        width = 192
        for name, (branches, pool, pooled) in zip(self._mixed, blocks.values(), strict=True):
            block = MixedBlock(width, branches, pool, pooled)
            self.add_module(name, block)
            width = block.channels
        self.fc = nn.Linear(WIDTH, CLASSES)  # part of the checkpoints; the inception score of ImageNet reads it
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, pixel_values: torch.Tensor, **_settings: object) -> BaseModelOutputWithPooling:
        """Encode images of any size."""
        x = (resize_like_tensorflow(pixel_values, SIDE) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in self._mixed:
            x = self.get_submodule(name)(x)
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=x.mean((2, 3)))


def resize_like_tensorflow(x: torch.Tensor, side: int) -> torch.Tensor:
    """Bilinear, no antialiasing, output pixel i read at i * in / out: TensorFlow 1's `resize_bilinear`.

    Args:
        x: float (N, C, H, W).
        side: Height and width of the result.

    Returns:
        float (N, C, side, side).
    """
    for dimension in (2, 3):
        length = x.shape[dimension]
        position = torch.arange(side, dtype=x.dtype, device=x.device) * (length / side)
        low = position.long()
        high = (low + 1).clamp_max(length - 1)
        share = (position - low).view(-1, *(1,) * (3 - dimension))
        first, second = x.index_select(dimension, low), x.index_select(dimension, high)
        x = first + (second - first) * share
    return x


def convert_inception(checkpoint: Path, out: Path) -> Path:
    """Write a published FID checkpoint as a model folder that `load_picture_encoder` takes.

    Args:
        checkpoint: `pt_inception-2015-12-05-6726825d.pth`, or the same tensors as `.safetensors`.
        out: The folder; created, files of the same names replaced.

    Raises:
        InputError: No such file, or the weights of another network.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {str(out)!r} is a file; give a folder")
    found = read_state_dict(checkpoint)
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        model = FidInceptionModel(FidInceptionConfig())
    expected = model.state_dict()
    # Some copies leave these counters out, and nothing reads them.
    counters = {name: torch.tensor(0) for name in expected if name.endswith("num_batches_tracked")}
    state = counters | found
    check_shapes(state, expected, "FID's Inception-v3")
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()}, assign=True)
    model.save_pretrained(out)
    like_new_files(out)
    untouched = dict.fromkeys(("do_resize", "do_rescale", "do_normalize", "do_center_crop"), False)
    (out / "preprocessor_config.json").write_text(json.dumps(untouched, indent=2) + "\n")
    return out


def _convs(step: Conv | tuple[Conv, Conv]) -> Iterable[Conv]:
    return (step,) if isinstance(step, Conv) else step


_BLOCK_35: Sequence[Branch] = (
    (Conv("branch1x1", 64),),
    (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, LARGE)),
    (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, SMALL), Conv("branch3x3dbl_3", 96, SMALL)),
)
_TO_17: Sequence[Branch] = (
    (Conv("branch3x3", 384, SMALL, 2),),
    (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, SMALL), Conv("branch3x3dbl_3", 96, SMALL, 2)),
)
_TO_8: Sequence[Branch] = (
    (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, SMALL, 2)),
    (Conv("branch7x7x3_1", 192), Conv("branch7x7x3_2", 192, ROW), Conv("branch7x7x3_3", 192, COLUMN),
     Conv("branch7x7x3_4", 192, SMALL, 2)),
)
_BLOCK_8: Sequence[Branch] = (
    (Conv("branch1x1", 320),),
    (Conv("branch3x3_1", 384), (Conv("branch3x3_2a", 384, (1, 3)), Conv("branch3x3_2b", 384, (3, 1)))),
    (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, SMALL),
     (Conv("branch3x3dbl_3a", 384, (1, 3)), Conv("branch3x3dbl_3b", 384, (3, 1)))),
)


def _block_17(inner: int) -> Sequence[Branch]:
    return (
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", inner), Conv("branch7x7_2", inner, ROW), Conv("branch7x7_3", 192, COLUMN)),
        (Conv("branch7x7dbl_1", inner), Conv("branch7x7dbl_2", inner, COLUMN), Conv("branch7x7dbl_3", inner, ROW),
         Conv("branch7x7dbl_4", inner, COLUMN), Conv("branch7x7dbl_5", 192, ROW)),
    )


AutoConfig.register(FID_INCEPTION, FidInceptionConfig)
AutoModel.register(FidInceptionConfig, FidInceptionModel)
