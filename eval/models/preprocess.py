"""Image preprocessing as a model's own `preprocessor_config.json` asks for, by the PIL processors of `transformers`.

Their other processors need torchvision, so `AutoImageProcessor`, which falls back on these, is not used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import one_line
from terrasynth.eval.errors import InputError

if TYPE_CHECKING:
    import torch

_STEPS = frozenset({
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize",
    "image_mean", "image_std", "do_convert_rgb",
})
_OWN_STEPS = {"ConvNextImageProcessor": {"crop_pct"}, "Siglip2ImageProcessor": {"patch_size", "max_num_patches"}}
_HARMLESS = frozenset({"image_processor_type", "feature_extractor_type", "processor_class", "data_format",
                       "input_data_format", "return_tensors", "default_to_square", "device", "image_seq_length"})
PREPROCESSING = 2
"""Counts the changes to this file that change a number; features cached on disk belong to one of them."""


class Preprocessor:
    """Resizes, crops, scales, and normalizes images, or cuts them into patches (SigLIP 2 of variable resolution).

    Resizing and cropping are done by the processor in bytes, scaling and normalization here for a whole batch at once.
    """

    def __init__(self, processor: Any) -> None:  # noqa: ANN401 - the processors of transformers are untyped
        self._processor = processor

    @classmethod
    def from_config(cls, config: Mapping[str, Any], reference: str) -> Preprocessor:
        """Read the content of a `preprocessor_config.json`; what it leaves out is as the processor's class has it.

        Raises:
            InputError: The configuration asks for a step that is not supported, or for one that cannot be done.
        """
        import transformers

        named = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
        kind = named.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
        found: Any = getattr(transformers, f"{kind}Pil", None)
        if found is None:  # any that resizes, crops, scales, and normalizes
            found, config = transformers.CLIPImageProcessorPil, {"do_center_crop": False, **config}
        try:
            processor = found.from_dict(dict(config))
            # What is not set asks for nothing; transformers writes many such keys.
            steps = {key for key, value in processor.to_dict().items() if value not in (None, False)}
            known = _STEPS | _HARMLESS | _OWN_STEPS.get(kind, set())
            if unknown := sorted(key for key in steps - known if not key.startswith("_")):
                raise InputError(
                    f"model {reference!r}: its preprocessor asks for {', '.join(unknown)}, which is not supported; "
                    "use a model that only resizes, crops and normalizes"
                )
            processor(np.zeros((8, 8, 3), np.uint8), input_data_format="channels_last")
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # as the step happens to notice it
            raise InputError(f"model {reference!r}: its preprocessor_config.json cannot be followed "
                             f"({one_line(error).rstrip('.')}); save its image processor again") from error
        return cls(processor)

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
                # A processor saved as a whole nests the part for images.
                return cls.from_config(config.get("image_processor", config), reference)
        raise InputError(f"model {reference!r}: no preprocessor_config.json; save its image processor beside it")

    @property
    def crops(self) -> bool:
        """Whether it cuts off what lies at the border."""
        return bool(getattr(self._processor, "do_center_crop", False))

    def uncropped(self, side: int) -> Preprocessor:
        """The same with whole images resized to a square of `side` px."""
        from transformers import CLIPImageProcessorPil

        square = {"size": {"height": side, "width": side}, "do_resize": True, "do_center_crop": False}
        return Preprocessor(CLIPImageProcessorPil.from_dict(self._processor.to_dict() | square))

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
        """Prepare images for the model's first layer.

        Args:
            images: `uint8` (N, H, W, 3).

        Returns:
            `pixel_values`, `float32` (N, 3, h, w); or patches (N, P, 3 * side^2), their mask (N, P) and their rows and
            columns (N, 2).
        """
        import torch

        processor = self._processor
        settings: dict[str, Any] = {"input_data_format": "channels_last", "return_tensors": "pt"}
        if hasattr(processor, "max_num_patches"):
            return dict(processor(list(images), **settings))
        pixels = processor(list(images), do_rescale=False, do_normalize=False, **settings)["pixel_values"]
        # The layout decides the last bits of a convolution, and with them the scores that are stored in blocks.
        pixels = pixels.float().contiguous(memory_format=torch.channels_last)
        if processor.do_rescale:
            pixels *= processor.rescale_factor
        if processor.do_normalize:
            mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (processor.image_mean, processor.image_std))
            pixels = (pixels - mean) / std
        return {"pixel_values": pixels}


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
