"""What is measured while a pipeline is tuned: the loss on `val`, and images drawn for its captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from terrasynth.eval.metrics.figure import derangement
from terrasynth.training.data.views import Pictures
from terrasynth.training.errors import InputError
from terrasynth.training.tuning.settings import ValidationSettings

if TYPE_CHECKING:
    from terrasynth.eval.models.classifiers import SceneClassifier
    from terrasynth.eval.models.dual_encoders import Encoder


class TunedPipeline(Protocol):
    """What is measured of a pipeline that is being tuned."""

    @property
    def validated(self) -> int:
        """Images of `val` behind its loss."""

    @property
    def val_texts(self) -> Sequence[str]:
        """First caption of each image of `val`, as the pipeline reads it."""

    def val_loss(self) -> float:
        """Mean loss on `val`."""

    def draw(self, texts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """Images `uint8` (N, H, W, 3) of N texts."""


class Validation:
    """Draws images for first captions of `val`, one seed each, and asks an encoder whether they agree.

    Args:
        settings: How many, and with what.

    Raises:
        InputError: The checkpoint is to be chosen by what is not measured, or the classifier lacks a class.
    """

    def __init__(self, settings: ValidationSettings, val: Pictures, device: torch.device, seed: int) -> None:
        self.settings, self.val = settings, val
        self.count = min(settings.pictures, len(val))
        self.rows = np.linspace(0, len(val) - 1, self.count).round().astype(int).tolist()
        self.captions = [val.pairs[row].captions[0] for row in self.rows]
        self.labels = [val.pairs[row].label for row in self.rows]
        if settings.choose == "clip_score" and (settings.encoder is None or not self.count):
            raise InputError("model.validation.choose is clip_score, which needs model.validation.encoder and "
                             "images; name an encoder that knows such images, or set choose to loss")
        self.encoder: Encoder | None = None
        self.classifier: SceneClassifier | None = None
        if self.count and settings.encoder is not None:
            from terrasynth.eval import load_encoder

            self.encoder = load_encoder(settings.encoder, str(device))
            self.texts = self.encoder.encode_texts(self.captions)
            self.shuffled = derangement(self.labels, seed)
        if self.count and settings.classifier is not None:
            from terrasynth.eval import load_classifier

            self.classifier = load_classifier(settings.classifier, str(device))
            unknown = sorted(set(self.labels) - set(self.classifier.labels))
            if unknown:
                raise InputError(f"model.validation.classifier {settings.classifier!r} does not know the class "
                                 f"{unknown[0]!r} of the data; leave it out or train one (preset scene-ucm)")

    def measure(self, task: TunedPipeline) -> tuple[dict[str, float], np.ndarray | None]:
        """Figures of a task as it is now, and the images drawn; `score` is what the checkpoint is chosen by."""
        figures = {"loss": task.val_loss(), "loss_n": float(task.validated)}
        drawn = None
        if self.count:
            drawn = task.draw([task.val_texts[row] for row in self.rows], list(range(self.count)))
            figures |= self.judge(drawn)
        figures["score"] = figures["clip_score"] if self.settings.choose == "clip_score" else -figures["loss"]
        return figures, drawn

    def judge(self, pictures: np.ndarray) -> dict[str, float]:
        """Agreement of images `uint8` (n, S, S, 3) with the captions, and with those of other images (`null`)."""
        figures = {"n": float(len(pictures))}
        if self.encoder is not None:
            found = self.encoder.encode_images(pictures)
            figures["clip_score"] = float(np.einsum("nd,nd->n", found, self.texts).mean())
            if self.shuffled is not None:
                figures["clip_null"] = float(np.einsum("nd,nd->n", found, self.texts[self.shuffled[0]]).mean())
        if self.classifier is not None:
            best = self.classifier.classify(pictures).probabilities.argmax(1)
            figures["accuracy"] = float(np.mean([self.classifier.labels[i] == label
                                                 for i, label in zip(best, self.labels, strict=True)]))
        return figures

    def ceiling(self, size: int) -> dict[str, float]:
        """The same of the real images."""
        return self.judge(self.val.open(self.rows, size)) if self.count else {}
