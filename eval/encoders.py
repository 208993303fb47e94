"""Dual encoders of pictures and texts (CLIP, Radford et al., ICML 2021): one space, cosine as the score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eval.calibration import Calibration
from eval.errors import InputError
from eval.loading import commit_of, load_config, load_weights
from eval.models import EMBEDDED_ROOT, resolve
from eval.preprocess import Preprocessor, check_images

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DUAL_ENCODERS = ("clip", "vision-text-dual-encoder")
"""The `model_type` of a configuration that `load_encoder` takes: `CLIPModel`, `VisionTextDualEncoderModel`."""

CALIBRATION_FILE = "calibration.json"


class Encoder(Protocol):
    """What filters and metrics need of a dual encoder.

    Attributes:
        dim: Width D of the embeddings.
        calibration: Scores of real pairs, where the model ships them.
        reads_text: Whether it has a text side; without one it only compares pictures.
    """

    dim: int
    calibration: Calibration | None
    reads_text: bool

    def identity(self) -> dict[str, object]:
        """What decides the embeddings, JSON-able."""

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Pictures `uint8` (N, H, W, 3) to L2-normalised `float32` (N, D)."""

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Texts to L2-normalised `float32` (N, D)."""

    def score(self, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of each picture with its text, `float32` (N,), -1 to 1."""


class ClipEncoder:
    """A `transformers` dual encoder; made by `load_encoder`.

    Attributes:
        dim: Width D of the embeddings.
        calibration: Scores of real pairs, or None where the model ships none.
        reads_text: True.
    """

    reads_text = True

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, preprocessor: Preprocessor,
        identity: dict[str, object], calibration: Calibration | None, dtype: torch.dtype,
    ) -> None:
        self._model: Any = model  # the two architectures share these methods by convention, not by type
        self._tokenizer = tokenizer
        self._preprocessor = preprocessor
        self._identity = identity
        self._dtype = dtype
        self._max_tokens = min(int(tokenizer.model_max_length), int(model.config.text_config.max_position_embeddings))
        self.dim = int(model.config.projection_dim)
        self.calibration = calibration

    def identity(self) -> dict[str, object]:
        """Kind, model, and content hash (a folder) or commit (the Hub)."""
        return dict(self._identity)

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Embed pictures.

        Args:
            images: `uint8` (N, H, W, 3).
            batch_size: Pictures in memory at a time; the result does not depend on it beyond rounding.

        Returns:
            L2-normalised `float32` (N, D).

        Raises:
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3).
        """
        check_images(images)
        parts = [
            self._embed("get_image_features", pixel_values=self._preprocessor(images[start : start + batch_size]))
            for start in range(0, len(images), batch_size)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Embed texts; one that is longer than the model's context is cut at its end.

        Args:
            texts: N texts.
            batch_size: Texts at a time; the result does not depend on it beyond rounding.

        Returns:
            L2-normalised `float32` (N, D).

        Raises:
            TypeError: `texts` is one string instead of a sequence of them.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts: one string ({texts[:40]!r}), where a list of strings is needed; put it in a list")
        parts = []
        for start in range(0, len(texts), batch_size):
            tokens = self._tokenizer(
                list(texts[start : start + batch_size]), padding=True, truncation=True, max_length=self._max_tokens,
                return_tensors="pt",
            )
            names = ("input_ids", "attention_mask")
            parts.append(self._embed("get_text_features", **{name: tokens[name] for name in names}))
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def score(self, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of each picture with its own text.

        Args:
            images: `uint8` (N, H, W, 3).
            texts: N texts.

        Returns:
            `float32` (N,), -1 to 1.

        Raises:
            ValueError: The numbers of pictures and texts differ.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} pictures and {len(texts)} texts: give one text for each picture")
        cosine: NDArray[np.float32] = np.einsum("nd,nd->n", self.encode_images(images), self.encode_texts(texts))
        return cosine

    def _embed(self, method: str, **inputs: torch.Tensor) -> NDArray[np.float32]:
        import torch
        import torch.nn.functional as F

        device = self._model.device
        inputs = {name: value.to(device) for name, value in inputs.items()}
        autocast = torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32)
        with torch.inference_mode(), autocast:
            features = getattr(self._model, method)(**inputs).pooler_output
        embeddings: NDArray[np.float32] = F.normalize(features.float(), dim=1).cpu().numpy()
        return embeddings


def load_encoder(
    reference: str | Path, device: str = "cpu", dtype: str | torch.dtype | None = None,
    roots: Sequence[Path] = (EMBEDDED_ROOT,),
) -> ClipEncoder:
    """Load a dual encoder: an embedded name (`clip-ucm`), a folder, or a Hub id with an optional `@revision`.

    Args:
        reference: The model; a `CLIPModel` or a `VisionTextDualEncoderModel`, weights in `safetensors`.
        device: A torch device.
        dtype: "float32" (the default, also for None), "bfloat16" or "float16": the type of the matrix products,
            under autocast. The weights stay in `float32`.
        roots: Folders of embedded models.

    Raises:
        InputError: Unknown reference, another kind of model, or weights that are missing, pickled or incomplete.
    """
    from transformers import AutoModel, AutoTokenizer

    resolved = resolve(reference, roots)
    config = load_config(resolved)
    if config.model_type not in DUAL_ENCODERS:
        raise InputError(
            f"model {resolved.reference!r}: a {config.model_type!r} model is no dual encoder of pictures and texts; "
            f"use one of type {' or '.join(DUAL_ENCODERS)}"
        )
    precision = _precision(dtype)
    model = load_weights(AutoModel, resolved, config)
    model.to(device)  # type: ignore[arg-type] # transformers' own wrapper types only a device object
    try:
        tokenizer = AutoTokenizer.from_pretrained(resolved.location, revision=resolved.revision or "main")
    except (OSError, ValueError) as error:
        raise InputError(f"model {resolved.reference!r}: no readable tokenizer; save it beside the model") from error
    # Where the files are missing, transformers goes on with an empty vocabulary.
    known, needed = len(tokenizer), int(config.text_config.vocab_size)
    if not needed // 2 <= known <= needed:
        raise InputError(
            f"model {resolved.reference!r}: a tokenizer of {known} tokens for a text model of {needed}; "
            "save the model's own tokenizer beside it"
        )
    preprocessor = Preprocessor.load(resolved.location, resolved.revision, resolved.reference)
    identity = {"kind": config.model_type, **resolved.identity(commit_of(config))}
    calibration = None
    if resolved.local and (resolved.folder / CALIBRATION_FILE).is_file():
        calibration = Calibration.load(resolved.folder / CALIBRATION_FILE)
    return ClipEncoder(model, tokenizer, preprocessor, identity, calibration, precision)


def _precision(dtype: str | torch.dtype | None) -> torch.dtype:
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype is None:
        return torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in known:
        raise InputError(f"dtype {name!r} is not supported; use one of {', '.join(known)}")
    return known[name]
