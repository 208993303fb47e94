"""The CLIP score as the code of Txt2Img-MHN has it: products of embeddings that were never normalized, over 100."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from terrasynth.eval.models.dual_encoders import ClipEncoder

BATCH = 256


def raw_scores(
    reference: str, encoder: ClipEncoder, images: NDArray[np.uint8], texts: Sequence[str]
) -> NDArray[np.float64]:
    """Product of the embeddings of each image and its text, divided by 100.

    Their lengths count here and differ between models, so the figure compares within one model only.

    Args:
        reference: What `encoder` was loaded by.
        encoder: A dual encoder that is saved in the way of `transformers`.
        images: uint8 (N, H, W, 3).

    Returns:
        float64 (N,).

    Raises:
        InputError: The text side cannot be loaded.
    """
    distinct = list(dict.fromkeys(texts))
    row = {text: number for number, text in enumerate(distinct)}
    sentences = _text_features(reference, distinct)[[row[text] for text in texts]]
    products: NDArray[np.float64] = np.einsum("nd,nd->n", encoder.features(images).astype(np.float64), sentences) / 100
    return products


def _text_features(reference: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Embeddings float64 (N, D), of the length that the network gives."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from terrasynth.eval.models.loading import load_config, load_weights
    from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve

    resolved = resolve(reference, (EMBEDDED_ROOT,))
    config = load_config(resolved)
    model: Any = load_weights(AutoModel, resolved, config)
    tokenizer: Any = AutoTokenizer.from_pretrained(resolved.location, revision=resolved.revision or "main")
    most = min(int(tokenizer.model_max_length), int(config.text_config.max_position_embeddings))
    parts = []
    for start in range(0, len(texts), BATCH):
        tokens = tokenizer(list(texts[start : start + BATCH]), padding=True, truncation=True, max_length=most,
                           return_tensors="pt")
        inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            parts.append(model.get_text_features(**inputs).pooler_output.double().numpy())
    features: NDArray[np.float64] = np.concatenate(parts)
    return features
