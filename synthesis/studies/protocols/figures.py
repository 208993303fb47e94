"""Figures that more than one protocol gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.real_pictures import RealPictures
from terrasynth.synthesis.studies.protocols.base import Row

if TYPE_CHECKING:
    from terrasynth.eval import Encoder
    from terrasynth.eval.metrics.figure import Figure


@dataclass(frozen=True)
class ClipScore:
    """Mean cosine of images and their texts, with its null and its ceiling.

    Attributes:
        score: Of the images; the interval resamples texts.
        null: Of the same images with the texts of others; None where there is only one text.
        null_kind: How these were chosen; None without.
        ceiling: Of real images with their captions.
    """

    score: Figure
    null: Figure | None
    null_kind: str | None
    ceiling: Figure

    def figures(self) -> dict[str, object]:
        """For the JSON of a protocol."""
        return {"clip": self.score, "clip_null": self.null, "clip_null_kind": self.null_kind, "clip_real": self.ceiling}

    def row(self, how: str) -> Row:
        """For its table.

        Args:
            how: Network and seed.
        """
        null = "" if self.null is None else f"{self.null} ({self.null_kind})"
        return Row("CLIP score, cosine", str(self.score), null, str(self.ceiling), how)


def clip_score(
    clip: Encoder, images: NDArray[np.uint8], texts: Sequence[str], labels: Sequence[str], real: RealPictures,
    seed: int, per_text: int = 1,
) -> ClipScore:
    """The CLIP score of generated images.

    Args:
        images: uint8 (N, H, W, 3).
        texts: N texts; each stands `per_text` times in a row.
        real: Real images with a caption each.
        seed: Of the intervals and of the null.
        per_text: Images of one text are no independent ones, so their mean is what is resampled.
    """
    from terrasynth.eval.metrics.figure import COSINE, bootstrap_mean, derangement

    pictures, sentences = clip.encode_images(images), clip.encode_texts(list(texts))

    def figure(cosines: NDArray[np.float32], of: Sequence[str]) -> Figure:
        return bootstrap_mean(cosines.reshape(-1, per_text).mean(1), seed, groups=of[::per_text], bounds=COSINE)

    pairing = derangement(labels[::per_text], seed)
    null = None
    if pairing is not None:
        partner = np.repeat(pairing[0], per_text) * per_text
        null = figure((pictures * sentences[partner]).sum(1), [texts[int(row)] for row in partner])
    ceiling = (clip.encode_images(real.images) * clip.encode_texts(list(real.texts))).sum(1)
    return ClipScore(
        figure((pictures * sentences).sum(1), texts), null, None if pairing is None else pairing[1],
        bootstrap_mean(ceiling, seed, groups=real.texts, bounds=COSINE),
    )
