"""Picture preprocessing as a model's own `preprocessor_config.json` asks for, without torchvision.

One class serves encoders and classifiers of every architecture; the numbers are those of `transformers`' own
processors on PIL, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.eval.errors import InputError

if TYPE_CHECKING:
    import torch

_KNOWN = frozenset({
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize",
    "image_mean", "image_std", "do_convert_rgb",
})
PREPROCESSING = 1
"""Counts the changes to this file that change a number; features cached on disk belong to one of them."""

_HARMLESS = frozenset({"image_processor_type", "feature_extractor_type", "processor_class", "data_format",
                       "input_data_format", "return_tensors", "default_to_square", "device", "image_seq_length"})


@dataclass(frozen=True)
class Preprocessor:
    """Resize, crop, scale and normalise.

    Attributes:
        size: (height, width) to resize to, or one number: the shortest edge, keeping the shape. None: leave as it is.
        resampling: One of PIL's filters; all of them antialias.
        crop: (height, width) of the central crop, or None.
        scale: Factor from bytes to the range that `mean` and `std` refer to.
        mean: Per channel.
        std: Per channel.
    """

    size: tuple[int, int] | int | None
    resampling: Image.Resampling
    crop: tuple[int, int] | None
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], reference: str) -> Preprocessor:
        """Read the content of a `preprocessor_config.json`.

        Raises:
            InputError: The configuration asks for a step that is not built here.
        """
        if config.get("do_resize", True) and _processor(config).startswith("ConvNext"):
            config = _without_crop_share(config, reference)
        # What is not set asks for nothing; transformers writes many such keys.
        asked = {key for key, value in config.items() if value not in (None, False)} - _HARMLESS
        if unknown := sorted(key for key in asked - _KNOWN if not key.startswith("_")):
            raise InputError(
                f"model {reference!r}: its preprocessor asks for {', '.join(unknown)}, which is not supported; "
                "use a model that only resizes, crops and normalises"
            )
        resample = config.get("resample")
        if resample not in (None, *Image.Resampling):
            choices = ", ".join(f"{filter_.value} ({filter_.name.lower()})" for filter_ in sorted(Image.Resampling))
            raise InputError(f"model {reference!r}: resample {resample!r} is no filter of PIL; use one of {choices}")
        ones, zeros = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
        normalise = bool(config.get("do_normalize", True))
        return cls(
            size=_size(config.get("size"), reference) if config.get("do_resize", True) else None,
            resampling=Image.Resampling.BICUBIC if resample is None else Image.Resampling(resample),
            crop=_crop(config.get("crop_size"), reference) if config.get("do_center_crop", False) else None,
            scale=float(config.get("rescale_factor") or 1 / 255) if config.get("do_rescale", True) else 1.0,
            mean=_triple(config.get("image_mean"), reference) if normalise else zeros,
            std=_triple(config.get("image_std"), reference) if normalise else ones,
        )

    @classmethod
    def load(cls, location: str, revision: str | None, reference: str) -> Preprocessor:
        """Read the configuration of a folder or a Hub id.

        Raises:
            InputError: There is none, or it cannot be used.
        """
        for name in ("preprocessor_config.json", "processor_config.json"):
            path = find_file(location, name, revision)
            if path is not None:
                config = json.loads(path.read_text())
                # A processor saved as a whole nests the picture part.
                return cls.from_config(config.get("image_processor", config), reference)
        raise InputError(f"model {reference!r}: no preprocessor_config.json; save its image processor beside it")

    def __call__(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """`uint8` (N, H, W, 3) to `float32` (N, 3, h, w), as the model's first layer expects."""
        import torch

        height, width = self._target(*images.shape[1:3])
        if (height, width) != images.shape[1:3]:
            resized = [Image.fromarray(image).resize((width, height), self.resampling) for image in images]
            images = np.stack([np.asarray(image) for image in resized])
        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        if self.crop is not None:
            pixels = _center_crop(pixels, *self.crop)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (pixels.float() * self.scale - mean) / std

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if self.size is None:
            return height, width
        if isinstance(self.size, tuple):
            return self.size
        short = min(height, width)
        return int(self.size * height / short), int(self.size * width / short)


def _center_crop(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The central (height, width); a picture that is smaller gets black borders, as in `transformers`."""
    import torch.nn.functional as F

    missing_rows, missing_columns = max(0, height - pixels.shape[2]), max(0, width - pixels.shape[3])
    above, left = -(-missing_rows // 2), -(-missing_columns // 2)
    pixels = F.pad(pixels, (left, missing_columns - left, above, missing_rows - above))
    top, start = (pixels.shape[2] - height) // 2, (pixels.shape[3] - width) // 2
    return pixels[:, :, top : top + height, start : start + width]


def find_file(location: str, name: str, revision: str | None) -> Path | None:
    """A file of a model: in its folder, or downloaded from the Hub; None where it has no such file.

    Raises:
        OSError: The Hub cannot be reached.
    """
    if Path(location).is_dir():
        path = Path(location) / name
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(location, name, revision=revision))
    except EntryNotFoundError:
        return None


def _processor(config: Mapping[str, Any]) -> str:
    return str(config.get("image_processor_type") or config.get("feature_extractor_type"))


def _without_crop_share(config: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Resize and crop in the usual keys, for the processor that ConvNeXt and ResNet share.

    Below 384 px it enlarges to `size / crop_pct` and crops to `size`; from there on it only resizes, to a square.
    """
    size = config.get("size")
    side = size if isinstance(size, int) else _size(size, reference)  # here a bare number is the shortest edge
    if not isinstance(side, int):
        raise InputError(f"model {reference!r}: crop_pct needs a size with shortest_edge, not {size!r}")
    plain = {key: value for key, value in config.items() if key != "crop_pct"}
    square = {"height": side, "width": side}
    if side >= 384:
        return plain | {"size": square}
    share = float(config.get("crop_pct") or 224 / 256)
    return plain | {"size": {"shortest_edge": int(side / share)}, "do_center_crop": True,
                    "crop_size": square}


def _size(value: Any, reference: str) -> tuple[int, int] | int:  # noqa: ANN401 - parsed JSON
    if isinstance(value, int):
        return value, value
    if isinstance(value, Mapping) and {"height", "width"} <= set(value):
        return int(value["height"]), int(value["width"])
    if isinstance(value, Mapping) and "shortest_edge" in value and value.get("longest_edge") is None:
        return int(value["shortest_edge"])
    raise InputError(f"model {reference!r}: size {value!r} is not supported; use height and width, or shortest_edge")


def _crop(value: Any, reference: str) -> tuple[int, int]:  # noqa: ANN401 - parsed JSON
    size = _size(value, reference)
    return size if isinstance(size, tuple) else (size, size)


def _triple(value: Any, reference: str) -> tuple[float, float, float]:  # noqa: ANN401 - parsed JSON
    if isinstance(value, list) and len(value) == 3:
        return float(value[0]), float(value[1]), float(value[2])
    raise InputError(f"model {reference!r}: image_mean and image_std need three numbers, not {value!r}")
