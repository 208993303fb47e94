"""Preprocessing of SigLIP 2's variable resolution (NaFlex): patches instead of a square (Tschannen et al., 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.references import ResolvedModel

if TYPE_CHECKING:
    import torch


class NaflexPreprocessor:
    """Resizes a picture so that whole patches cover it, in its own shape, as many as the model takes at the most.

    Unlike `Preprocessor` this calls the processor of `transformers`, whose search for the size is part of the model.
    """

    def __init__(self, processor: Any) -> None:  # noqa: ANN401 - the PIL processors of transformers are untyped
        self._processor = processor

    @classmethod
    def load(cls, resolved: ResolvedModel) -> NaflexPreprocessor:
        """Read the configuration of a folder or a Hub id.

        Raises:
            InputError: There is none.
        """
        from transformers import Siglip2ImageProcessorPil

        try:
            processor = Siglip2ImageProcessorPil.from_pretrained(
                resolved.location, revision=resolved.revision or "main"
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"model {resolved.reference!r}: no preprocessor_config.json; save its image processor beside it"
            ) from error
        return cls(processor)

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
        """`uint8` (N, H, W, 3) to patches (N, P, 3 * side^2), their mask (N, P) and their rows and columns (N, 2)."""
        return dict(self._processor(images=list(images), return_tensors="pt"))
