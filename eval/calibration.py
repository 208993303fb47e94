"""How well real pictures score with their own captions: the scale on which a generated picture's score is read.

A cosine of 0.3 means nothing by itself, and what is a good score differs by class. So a threshold is stated as the
share of real pairs of the class that reach it, and the scores of real pairs are shipped with the encoder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from eval.errors import InputError

if TYPE_CHECKING:
    from eval.encoders import Encoder

LEVELS = 201
"""Number of stored quantiles, evenly spaced from 0 to 1: steps of half a percent."""

MIN_CLASS_PAIRS = 20
"""A class with fewer real pairs than this is judged on the overall pool: its tail quantiles would be single pairs."""


@dataclass(frozen=True)
class Quantiles:
    """The distribution of real scores.

    Attributes:
        n: Number of real pairs.
        values: `LEVELS` scores, those of the quantiles 0 to 1, ascending.
    """

    n: int
    values: tuple[float, ...]

    @classmethod
    def of(cls, scores: NDArray[np.float32]) -> Quantiles:
        """Sample quantiles (N,) with linear interpolation (Hyndman & Fan 1996, definition 7)."""
        values = np.quantile(scores.astype(np.float64), np.linspace(0, 1, LEVELS))
        return cls(len(scores), tuple(round(float(value), 6) for value in values))

    def at(self, level: float) -> float:
        """The score at a quantile level from 0 to 1, linear between the stored ones."""
        return float(np.interp(level, np.linspace(0, 1, len(self.values)), self.values))


@dataclass(frozen=True)
class Calibration:
    """Scores of real picture-caption pairs under one encoder.

    Attributes:
        encoder: Identity of the encoder that gave the scores.
        split: Where the pairs came from, for instance "val".
        classes: Quantiles by class.
        overall: Quantiles of all pairs.
    """

    encoder: Mapping[str, object]
    split: str
    classes: Mapping[str, Quantiles]
    overall: Quantiles

    def source(self, label: str) -> Literal["class", "overall"]:
        """Whose real pairs `threshold` speaks of: the class's own, or all where the class is unknown or small."""
        known = self.classes.get(label)
        return "class" if known is not None and known.n >= MIN_CLASS_PAIRS else "overall"

    def threshold(self, label: str, pass_real: float) -> float:
        """The score that a share of the real pairs of a class reaches.

        Args:
            label: The class; `source` tells whether its own pairs are used.
            pass_real: The share, 0 to 1.

        Raises:
            InputError: `pass_real` is no share.
        """
        if not 0 <= pass_real <= 1:
            raise InputError(f"pass_real {pass_real}: not a share; give a number from 0 to 1")
        quantiles = self.classes[label] if self.source(label) == "class" else self.overall
        return round(quantiles.at(1 - pass_real), 6)

    def save(self, path: Path) -> None:
        """Write JSON; the same calibration always gives the same bytes."""
        content = {
            "encoder": dict(self.encoder),
            "split": self.split,
            "overall": asdict(self.overall),
            "classes": {label: asdict(self.classes[label]) for label in sorted(self.classes)},
        }
        path.write_text(json.dumps(content, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            InputError: The file is no calibration.
        """
        try:
            content = json.loads(path.read_text())
            return cls(
                encoder=content["encoder"], split=content["split"], overall=_quantiles(content["overall"]),
                classes={label: _quantiles(entry) for label, entry in content["classes"].items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a calibration ({error!r}); make it again with eval.calibrate") from error


def calibrate(
    encoder: Encoder, images: NDArray[np.uint8], captions: Sequence[Sequence[str]], labels: Sequence[str], split: str
) -> Calibration:
    """Score real pictures with each of their own captions.

    Args:
        encoder: Any dual encoder.
        images: `uint8` (N, H, W, 3); pictures that the encoder was not trained on, or the scores flatter.
        captions: At least one caption a picture; every one makes a pair.
        labels: The class of each picture.
        split: Where the pictures came from; recorded.

    Raises:
        InputError: The numbers differ, there is no picture, or one has no caption.
    """
    if not len(images) == len(captions) == len(labels):
        counts = f"{len(images)} pictures, {len(captions)} lists of captions, {len(labels)} labels"
        raise InputError(f"{counts}: calibration needs as many of each")
    if not len(images) or not all(captions):
        raise InputError("calibration needs at least one picture, and at least one caption for each")
    distinct = list(dict.fromkeys(text for own in captions for text in own))
    row = {text: number for number, text in enumerate(distinct)}
    picture = np.repeat(np.arange(len(images)), [len(own) for own in captions])
    text = np.array([row[text] for own in captions for text in own])
    scores = np.einsum("nd,nd->n", encoder.encode_images(images)[picture], encoder.encode_texts(distinct)[text])
    pair_labels = np.array(labels, dtype=object)[picture]
    return Calibration(
        encoder=encoder.identity(), split=split, overall=Quantiles.of(scores),
        classes={label: Quantiles.of(scores[pair_labels == label]) for label in sorted(set(labels))},
    )


def _quantiles(entry: Mapping[str, object]) -> Quantiles:
    values = entry["values"]
    n = entry["n"]
    if not isinstance(values, list) or len(values) < 2 or not isinstance(n, int):
        raise ValueError("quantiles need 'n' and a list 'values'")
    return Quantiles(n, tuple(float(value) for value in values))
