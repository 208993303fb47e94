"""Segmenters: which class of land cover does each pixel show?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.images import check_some_images
from terrasynth.eval.models.calibration import Calibration
from terrasynth.eval.models.dual_encoders import CALIBRATION_FILE
from terrasynth.eval.models.loading import commit_of, load_config, load_weights
from terrasynth.eval.models.preprocess import Preprocessor
from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve


class Segmenter:
    """A `transformers` network of semantic segmentation; made by `load_segmenter`.

    Attributes:
        labels: The C class names, by value of the maps.
        calibration: Scores of real images with their own masks, where it ships them.
    """

    def __init__(self, model: Any, preprocessor: Preprocessor, identity: dict[str, object],  # noqa: ANN401
                 calibration: Calibration | None = None) -> None:
        self.calibration = calibration
        self._model = model  # every architecture types its own outputs
        self._preprocessor = preprocessor
        self._identity = identity
        names: dict[int, str] = model.config.id2label
        self.labels = tuple(names[number] for number in sorted(names))

    def identity(self) -> dict[str, object]:
        """Kind, model, and content hash (a folder) or commit (the Hub)."""
        return dict(self._identity)

    def segment(self, images: NDArray[np.uint8], batch_size: int = 16) -> NDArray[np.uint8]:
        """The most probable class of each pixel.

        Logits are interpolated to the size of the images (bilinear, corners not aligned) before the largest is taken,
        as `transformers`' own post-processing does.

        Args:
            images: `uint8` (N, H, W, 3).
            batch_size: Images in memory at a time.

        Returns:
            `uint8` (N, H, W), values as in `labels`.

        Raises:
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3), or N is 0.
        """
        import torch
        from torch.nn.functional import interpolate

        check_some_images(images)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), batch_size):
                pixels = self._preprocessor(images[start : start + batch_size])["pixel_values"]
                logits = self._model(pixel_values=pixels.to(self._model.device)).logits.float()
                shown = interpolate(logits, images.shape[1:3], mode="bilinear", align_corners=False)
                parts.append(shown.argmax(1).to(torch.uint8).cpu().numpy())
        return np.concatenate(parts)


def load_segmenter(
    reference: str | Path, device: str = "cpu", roots: Sequence[Path] = (EMBEDDED_ROOT,)
) -> Segmenter:
    """Load a segmenter: a folder, such as that of `terrasynth train segmenter`, or a Hub id with optional `@revision`.

    Args:
        reference: A model that `AutoModelForSemanticSegmentation` reads, weights in `safetensors`.

    Raises:
        InputError: Unknown reference, another kind of model, weights that are missing, pickled or incomplete, more than
            256 classes, or preprocessing that cuts the border off, so that pixels would not be those of the image.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from transformers import SegformerConfig, SegformerForSemanticSegmentation
        >>> from terrasynth.eval import load_segmenter
        >>> config = SegformerConfig(hidden_sizes=[8] * 4, depths=[1] * 4, id2label={0: "land", 1: "water"})
        >>> folder = Path(tempfile.mkdtemp())
        >>> SegformerForSemanticSegmentation(config).save_pretrained(folder)
        >>> _ = (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 64, "width": 64}}))
        >>> segmenter = load_segmenter(folder)
        >>> segmenter.labels, segmenter.segment(np.zeros((2, 64, 64, 3), np.uint8)).shape
        (('land', 'water'), (2, 64, 64))
    """
    from transformers import AutoModelForSemanticSegmentation

    resolved = resolve(reference, roots)
    config = load_config(resolved)
    if not any(name.endswith("ForSemanticSegmentation") for name in config.architectures or ()):
        raise InputError(f"model {resolved.reference!r}: a {config.model_type!r} model is no network of semantic "
                         "segmentation; use one such as SegformerForSemanticSegmentation")
    model = load_weights(AutoModelForSemanticSegmentation, resolved, config)
    if (classes := len(config.id2label or ())) > np.iinfo(np.uint8).max + 1:
        raise InputError(f"model {resolved.reference!r} knows {classes} classes; 256 are the most")
    model.to(device)  # type: ignore[arg-type] # transformers' own wrapper types only a device object
    preprocessor = Preprocessor.load(resolved.location, resolved.revision, resolved.reference)
    if preprocessor.crops:
        raise InputError(f"model {resolved.reference!r}: its preprocessing cuts the border off (do_center_crop); set "
                         "that to false in preprocessor_config.json")
    identity = {"kind": config.model_type, **resolved.identity(commit_of(config))}
    path = resolved.folder / CALIBRATION_FILE if resolved.local else None
    return Segmenter(model, preprocessor, identity,
                     Calibration.load(path) if path is not None and path.is_file() else None)
