"""What is measured while a pipeline is tuned: the loss on `val`, and images drawn for its captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
    from terrasynth.eval.models.knowledge import Knowledge

SHOWN = 5  # classes that a line names


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
        settings: How many, and with what; see `settled`.

    Raises:
        InputError: The checkpoint is to be chosen by what is not measured, or the classifier lacks a class.
    """

    def __init__(self, settings: ValidationSettings, val: Pictures, device: torch.device, seed: int) -> None:
        self.settings, self.val = settings, val
        self.rows = _rows(settings, val)
        self.count = len(self.rows)
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
        figures["score"] = -figures["loss"] if self.settings.choose == "loss" else figures["clip_score"]
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


def settled(settings: ValidationSettings, val: Pictures, before: str | None = None) -> tuple[ValidationSettings, str]:
    """What decides which checkpoint is kept, where the settings leave it open.

    Args:
        settings: As they are asked for.
        val: The images of `val`.
        before: What has chosen the checkpoints of the training that goes on, which stays where nothing else is asked.

    Returns:
        The settings with `choose` decided, without an encoder that never met most images; and what is to be said of
        the encoder, on one line, or "".

    Raises:
        InputError: What has chosen so far needs an encoder and images.
    """
    decided, said = _decided(settings, val)
    if before is None or settings.choose != "auto" or decided.choose == before:
        return decided, said
    if before == "clip_score" and (decided.encoder is None or not decided.pictures):
        raise InputError("drawn images have chosen the checkpoints of this training so far: leave "
                         "model.validation.encoder and model.validation.pictures as they were, or use --restart to "
                         "begin anew")
    return settings.model_validate({**decided.model_dump(), "choose": before}), said


def _decided(settings: ValidationSettings, val: Pictures) -> tuple[ValidationSettings, str]:
    """The same for a training that begins."""
    from terrasynth.synthesis.core.knowledge import known_by

    auto = settings.choose == "auto"
    if settings.encoder is None or not settings.pictures:
        return (settings.model_copy(update={"choose": "loss"}) if auto else settings), ""
    decided = settings.model_copy(update={"choose": "clip_score"}) if auto else settings
    known, rows = known_by(settings.encoder), _rows(settings, val)
    unknown = {row: found for row in rows if known is not None and (found := _never_met(known, val, row))}
    if not unknown:
        return decided, ""
    names = list(dict.fromkeys(unknown.values()))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    what = (f"model.validation.encoder {Path(settings.encoder).name} never met {', '.join(names[:SHOWN])}{more}, in "
            f"{len(unknown)} of the {len(rows)} images of val that are drawn")
    if auto and 2 * len(unknown) > len(rows):
        return settings.model_copy(update={"choose": "loss", "encoder": None}), (
            f"{what}: it is not asked, and the loss on val chooses the checkpoint; set model.validation.encoder to one "
            "that knows them to have drawn images judged")
    return decided, (f"{what}, where its agreement means little; set model.validation.choose=loss, or "
                     "model.validation.encoder to one that knows them")


def _rows(settings: ValidationSettings, val: Pictures) -> list[int]:
    """The images of `val` whose captions are drawn, spread evenly."""
    rows: list[int] = np.linspace(0, len(val) - 1, min(settings.pictures, len(val))).round().astype(int).tolist()
    return rows


def _never_met(known: Knowledge, val: Pictures, row: int) -> str:
    """The class of an image, or without one the words of its caption, that a model never met; "" where it did."""
    from terrasynth.synthesis.core.knowledge import knows_class

    pair = val.pairs[row]
    if pair.label:
        return "" if knows_class(known, pair.label) else pair.label
    return ", ".join(known.unread(pair.captions[0]))
