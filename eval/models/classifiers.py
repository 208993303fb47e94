"""Scene classifiers: which land-use class does an image show, and the features that the Frechet distance compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.images import check_some_images
from terrasynth.eval.models.inference import portion
from terrasynth.eval.models.loading import commit_of, load_config, load_weights
from terrasynth.eval.models.preprocess import Preprocessor
from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Classification:
    """What a classifier says about N images.

    Attributes:
        probabilities: `float32` (N, C), rows sum to 1.
        features: `float32` (N, F), the pooled features before the last layer.
    """

    probabilities: NDArray[np.float32]
    features: NDArray[np.float32]


class SceneClassifier:
    """A `transformers` image classifier; made by `load_classifier`.

    Attributes:
        labels: The C class names, in the order of the probabilities.
        precision: Type of the matrix products and kind of device.
        called: Name of the user's folder that it was loaded from; "" for any other.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import load_classifier
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        >>> found = load_classifier("scene-ucm").classify(images)
        >>> found.probabilities.shape, np.allclose(found.probabilities.sum(1), 1, atol=1e-4)
        ((2, 21), True)
    """

    def __init__(self, model: Any, preprocessor: Preprocessor, identity: dict[str, object],  # noqa: ANN401
                 called: str = "") -> None:
        self.called = called
        self._model = model  # every architecture types its own outputs
        self._preprocessor = preprocessor
        self._identity = identity
        names: dict[int, str] = model.config.id2label
        self.labels = tuple(names[number] for number in sorted(names))
        self.precision = f"float32 on {model.device.type}"

    def identity(self) -> dict[str, object]:
        """Kind, model, and content hash (a folder) or commit (the Hub)."""
        return dict(self._identity)

    def classify(self, images: NDArray[np.uint8], batch_size: int = 64) -> Classification:
        """Probabilities and features in one pass.

        Args:
            images: `uint8` (N, H, W, 3).
            batch_size: Images in memory at a time; the result does not depend on it beyond rounding.

        Raises:
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3), or N is 0.
        """
        check_some_images(images)
        parts: list[Classification] = []
        for start in range(0, len(images), batch_size):
            parts += map(self._forward, self._prepared(images[start : start + batch_size]))
        return Classification(
            np.concatenate([part.probabilities for part in parts]), np.concatenate([part.features for part in parts])
        )

    def probabilities(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Class probabilities `float32` (N, C) of images `uint8` (N, H, W, 3); of a model without features, too.

        Raises:
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3), or N is 0.
        """
        check_some_images(images)
        return np.concatenate([
            self._probabilities(part) for start in range(0, len(images), batch_size)
            for part in self._prepared(images[start : start + batch_size])
        ])

    def features(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Pooled features `float32` (N, F) of images `uint8` (N, H, W, 3); see `classify`."""
        return self.classify(images, batch_size).features

    def _prepared(self, images: NDArray[np.uint8]) -> Sequence[torch.Tensor]:
        pixels = self._preprocessor(images)["pixel_values"]
        parts: Sequence[torch.Tensor] = pixels.split(portion(pixels[0, 0].numel(), self._model.device))
        return parts

    def _probabilities(self, pixels: torch.Tensor) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            logits = self._model(pixel_values=pixels.to(self._model.device)).logits
        found: NDArray[np.float32] = logits.float().softmax(1).cpu().numpy()
        return found

    def _forward(self, pixels: torch.Tensor) -> Classification:
        kept: list[torch.Tensor] = []
        backbone = self._model.base_model
        # Its pooled output is what the last layer sees; a hook saves running the backbone twice.
        hook = backbone.register_forward_hook(lambda _module, _inputs, output: kept.append(output.pooler_output))
        try:
            probabilities = self._probabilities(pixels)
        finally:
            hook.remove()
        return Classification(probabilities, kept[0].flatten(1).float().cpu().numpy())


def load_image_classifier(
    reference: str | Path, device: str = "cpu", roots: Sequence[Path] = (EMBEDDED_ROOT,)
) -> SceneClassifier:
    """Load what `AutoModelForImageClassification` reads; `loaders.load_classifier` takes judges, too.

    Raises:
        InputError: Unknown reference, another kind of model, or weights that are missing, pickled or incomplete.
    """
    from transformers import AutoModelForImageClassification

    resolved = resolve(reference, roots)
    config = load_config(resolved)
    if not any(name.endswith("ForImageClassification") for name in config.architectures or ()):
        raise InputError(
            f"model {resolved.reference!r}: a {config.model_type!r} model is no image classifier; "
            "use one such as ResNetForImageClassification"
        )
    model = load_weights(AutoModelForImageClassification, resolved, config)
    model.to(device)  # type: ignore[arg-type] # transformers' own wrapper types only a device object
    preprocessor = Preprocessor.load(resolved.location, resolved.revision, resolved.reference)
    identity = {"kind": config.model_type, **resolved.identity(commit_of(config))}
    return SceneClassifier(model, preprocessor, identity, resolved.called)
