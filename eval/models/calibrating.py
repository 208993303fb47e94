"""Calibrate an encoder on real image-text pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.calibration import Calibration

if TYPE_CHECKING:
    from terrasynth.eval.models.dual_encoders import Encoder


def calibrate(
    encoder: Encoder, images: NDArray[np.uint8], captions: Sequence[Sequence[str]], labels: Sequence[str], split: str
) -> Calibration:
    """Score real images with each of their own captions.

    Args:
        images: `uint8` (N, H, W, 3); images that the encoder was not trained on, or the scores flatter.
        captions: At least one caption an image; every one makes a pair.
        labels: The class of each image.
        split: Where the images came from; recorded.

    Raises:
        InputError: The numbers differ, there is no image, or one has no caption.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import calibrate, load_encoder
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        >>> captions = [["a forest", "many trees"], ["a beach"]]
        >>> found = calibrate(load_encoder("clip-ucm"), images, captions, ["forest", "beach"], split="val")
        >>> found.pictures, found.overall.n
        (2, 3)
    """
    if not len(images) == len(captions) == len(labels):
        counts = f"{len(images)} images, {len(captions)} lists of captions, {len(labels)} labels"
        raise InputError(f"{counts}: calibration needs as many of each")
    if not len(images) or not all(captions):
        raise InputError("calibration needs at least one image, and at least one caption for each")
    distinct = list(dict.fromkeys(text for own in captions for text in own))
    row = {text: number for number, text in enumerate(distinct)}
    picture = np.repeat(np.arange(len(images)), [len(own) for own in captions])
    text = np.array([row[text] for own in captions for text in own])
    scores = np.einsum("nd,nd->n", encoder.encode_images(images)[picture], encoder.encode_texts(distinct)[text])
    return Calibration.of(encoder.identity(), split, scores, picture, labels)
