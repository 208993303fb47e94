"""Dual encoders of images and texts: one space, cosine as the score.

CLIP (Radford et al., ICML 2021), SigLIP (Zhai et al., ICCV 2023) and what has their shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import how_to_install, one_line
from terrasynth.eval.errors import InputError
from terrasynth.eval.models.calibration import Calibration
from terrasynth.eval.models.inference import in_batches, inference, precision_name, read_precision, unit_length
from terrasynth.eval.models.loading import commit_of, load_config, load_weights
from terrasynth.eval.models.openclip_files import find_open_clip, load_open_clip
from terrasynth.eval.models.preprocess import Preprocessor
from terrasynth.eval.models.references import EMBEDDED_ROOT, ResolvedModel, resolve

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CLIP_TYPES = ("clip", "vision-text-dual-encoder")
SIGLIP_TYPES = ("siglip", "siglip2")
DUAL_ENCODERS = (*CLIP_TYPES, *SIGLIP_TYPES)
"""The `model_type` of a configuration that `load_encoder` takes; SigLIP 2 of a fixed resolution calls itself siglip."""

CALIBRATION_FILE = "calibration.json"


class PictureEncoder(Protocol):
    """What metrics and filters need of anything that turns images into features.

    Attributes:
        dim: Width D of the features.
        reads_text: Whether it is an `Encoder`, with a text side; without one it only compares images.
        precision: What moves the last digits of features and is no part of the identity, such as "float32 on cpu".

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import PictureEncoder
        >>> class MeanColour:
        ...     dim, reads_text, precision = 3, False, "float32"
        ...     def identity(self):
        ...         return {"kind": "mean colour"}
        ...     def features(self, images, batch_size=64):
        ...         return images.mean((1, 2), dtype=np.float32)
        ...     def encode_images(self, images, batch_size=64):
        ...         rows = self.features(images)
        ...         return rows / np.linalg.norm(rows, axis=1, keepdims=True)
        >>> encoder: PictureEncoder = MeanColour()
        >>> encoder.features(np.full((2, 32, 32, 3), 100, dtype=np.uint8)).shape
        (2, 3)
    """

    dim: int
    reads_text: bool
    precision: str

    def identity(self) -> dict[str, object]:
        """What decides the features, JSON-able."""

    def features(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Images `uint8` (N, H, W, 3) to `float32` (N, D), of the length the network gives: for Frechet distances."""

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """The same, L2-normalized: for cosines."""


class Encoder(PictureEncoder, Protocol):
    """What filters and metrics need of a dual encoder.

    Attributes:
        calibration: Scores of real pairs, where the model ships them.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import Encoder, load_encoder
        >>> def likeliest(encoder: Encoder, images, texts):
        ...     return (encoder.encode_images(images) @ encoder.encode_texts(texts).T).argmax(1)
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        >>> likeliest(load_encoder("clip-ucm"), images, ["a beach", "a forest", "a river"]).shape
        (2,)
    """

    calibration: Calibration | None

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Texts to L2-normalized `float32` (N, D)."""

    def score(self, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of each image with its text, `float32` (N,), -1 to 1."""


def check_texts(texts: Sequence[str]) -> None:
    """Refuse one string in the place of a list, which would be read letter by letter.

    Raises:
        TypeError: `texts` is one string.
    """
    if isinstance(texts, str):
        raise TypeError(f"texts: one string ({texts[:40]!r}), where a list of strings is needed; put it in a list")


def paired_cosine(encoder: Encoder, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
    """Cosine of each of N images `uint8` (N, H, W, 3) with its own text, `float32` (N,), -1 to 1.

    Raises:
        ValueError: The numbers of images and texts differ.
    """
    if len(images) != len(texts):
        raise ValueError(f"{len(images)} images and {len(texts)} texts: give one text for each image")
    cosine: NDArray[np.float32] = np.einsum("nd,nd->n", encoder.encode_images(images), encoder.encode_texts(texts))
    return cosine


class ClipEncoder:
    """A `transformers` dual encoder; made by `load_encoder`.

    Attributes:
        dim: Width D of the embeddings.
        calibration: Scores of real pairs, or None where the model ships none.
        reads_text: True.
        precision: Type of the matrix products and kind of device.
        called: Name of the user's folder that it was loaded from; "" for any other.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import load_encoder
        >>> encoder = load_encoder("clip-ucm")
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        >>> scores = encoder.score(images, ["a beach", "a forest"])
        >>> scores.shape, bool((np.abs(scores) <= 1).all())
        ((2,), True)
        >>> 0 < encoder.calibration.threshold("forest", pass_real=0.95) < 1  # what 95 % of real pairs reach
        True
    """

    reads_text = True

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, preprocessor: Preprocessor,
        identity: dict[str, object], calibration: Calibration | None, dtype: torch.dtype, called: str = "",
    ) -> None:
        self.called = called
        self._model: Any = model  # the architectures share these methods by convention, not by type
        self._tokenizer = tokenizer
        self._preprocessor = preprocessor
        self._identity = identity
        self._dtype = dtype
        config = model.config
        self._sigmoid = config.model_type in SIGLIP_TYPES
        self._max_tokens = min(int(tokenizer.model_max_length), int(config.text_config.max_position_embeddings))
        self.dim = int(config.vision_config.hidden_size if self._sigmoid else config.projection_dim)
        self.calibration = calibration
        self.precision = precision_name(model, dtype)

    def identity(self) -> dict[str, object]:
        """Kind, model, and content hash (a folder) or commit (the Hub)."""
        return dict(self._identity)

    def features(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Embeddings of the length that the network gives, `float32` (N, D); otherwise as `encode_images`."""
        return in_batches(images, batch_size, self.dim, self._image_features)

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Embed images.

        Args:
            images: `uint8` (N, H, W, 3).
            batch_size: Images in memory at a time; the result does not depend on it beyond rounding.

        Returns:
            L2-normalized `float32` (N, D).

        Raises:
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3).
        """
        return unit_length(self.features(images, batch_size))

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Embed texts; one that is longer than the model's context is cut at its end.

        Args:
            batch_size: Texts at a time; the result does not depend on it beyond rounding.

        Returns:
            L2-normalized `float32` (N, D).

        Raises:
            TypeError: `texts` is one string instead of a sequence of them.
        """
        check_texts(texts)
        parts = []
        for start in range(0, len(texts), batch_size):
            # SigLIP pools the last position, so its texts fill the context; it was trained without an attention mask.
            tokens = self._tokenizer(
                list(texts[start : start + batch_size]), padding="max_length" if self._sigmoid else True,
                truncation=True, max_length=self._max_tokens, return_tensors="pt",
            )
            names = ("input_ids",) if self._sigmoid else ("input_ids", "attention_mask")
            parts.append(self._embed("get_text_features", **{name: tokens[name] for name in names}))
        return unit_length(np.concatenate(parts)) if parts else np.empty((0, self.dim), np.float32)

    def score(self, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of each image with its own text.

        For SigLIP too, where the probability of a match would be a sigmoid of the scaled and shifted cosine: the order
        is the same, and the range is that of all other encoders.

        Args:
            images: `uint8` (N, H, W, 3).

        Returns:
            `float32` (N,), -1 to 1.

        Raises:
            ValueError: The numbers of images and texts differ.
        """
        return paired_cosine(self, images, texts)

    def _image_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._embed("get_image_features", **self._preprocessor(images))

    def _embed(self, method: str, **inputs: torch.Tensor) -> NDArray[np.float32]:
        with inference(self._model, self._dtype):
            moved = {name: value.to(self._model.device) for name, value in inputs.items()}
            features = getattr(self._model, method)(**moved).pooler_output
        rows: NDArray[np.float32] = features.float().cpu().numpy()
        return rows


def load_dual_encoder(
    reference: str | Path, device: str = "cpu", dtype: str | torch.dtype | None = None,
    roots: Sequence[Path] = (EMBEDDED_ROOT,),
) -> ClipEncoder:
    """Load what `transformers` and OpenCLIP save; `terrasynth.eval.models.loaders.load_encoder` takes judges, too.

    Args:
        reference: The model, weights in `safetensors`: a `CLIPModel`, a `VisionTextDualEncoderModel`, a `SiglipModel`
            (SigLIP 2 too, of fixed and of variable resolution), or a vision transformer as OpenCLIP saves it, with its
            `open_clip_config.json`.
        dtype: Type of the matrix products, under autocast. The weights stay in `float32`.

    Raises:
        InputError: Unknown reference, another kind of model, or weights that are missing, pickled or incomplete.
    """
    from transformers import AutoModel, AutoTokenizer, CLIPTokenizer

    resolved = resolve(reference, roots)
    precision = read_precision(dtype)
    model: PreTrainedModel
    tokenizers: Any = AutoTokenizer
    if (found := find_open_clip(resolved)) is not None:
        model, preprocessor, commit = load_open_clip(resolved, found)
        kind, tokenizers = "open-clip", CLIPTokenizer
    else:
        config = load_config(resolved)
        kind = config.model_type
        _check_type(resolved, kind)
        model = load_weights(AutoModel, resolved, config)
        preprocessor = Preprocessor.load(resolved.location, resolved.revision, resolved.reference)
        commit = commit_of(config)
    model.to(device)  # type: ignore[arg-type] # transformers' own wrapper types only a device object
    tokenizer = _load_tokenizer(resolved, tokenizers, int(model.config.text_config.vocab_size))
    identity = {"kind": kind, **resolved.identity(commit)}
    calibration = None
    if resolved.local and (resolved.folder / CALIBRATION_FILE).is_file():
        calibration = Calibration.load(resolved.folder / CALIBRATION_FILE)
    return ClipEncoder(model, tokenizer, preprocessor, identity, calibration, precision, resolved.called)


def _check_type(resolved: ResolvedModel, kind: str) -> None:
    if kind not in DUAL_ENCODERS:
        raise InputError(
            f"model {resolved.reference!r}: a {kind!r} model is no dual encoder of images and texts; "
            f"use one of type {', '.join(DUAL_ENCODERS[:-1])} or {DUAL_ENCODERS[-1]}"
        )


def _load_tokenizer(resolved: ResolvedModel, auto: Any, needed: int) -> PreTrainedTokenizerBase:  # noqa: ANN401
    try:
        tokenizer: PreTrainedTokenizerBase = auto.from_pretrained(
            resolved.location, revision=resolved.revision or "main"
        )
    except ImportError as error:  # SigLIP's first version needs sentencepiece
        raise InputError(f"model {resolved.reference!r}: its tokenizer needs a package that is missing: "
                         f"{one_line(error, 200)}; {how_to_install('siglip')}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"model {resolved.reference!r}: no readable tokenizer; save it beside the model") from error
    # Where the files are missing, transformers goes on with an empty vocabulary.
    known = len(tokenizer)
    if not needed // 2 <= known <= needed:
        raise InputError(
            f"model {resolved.reference!r}: a tokenizer of {known} tokens for a text model of {needed}; "
            "save the model's own tokenizer beside it"
        )
    return tokenizer
