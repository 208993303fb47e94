"""Train the networks of our evaluators' presets on images in memory, and give them back as evaluators."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from terrasynth.eval.models.classifiers import SceneClassifier
from terrasynth.eval.models.dual_encoders import Encoder
from terrasynth.eval.models.loaders import load_classifier, load_encoder
from terrasynth.training.data.pictures import PictureSet, square
from terrasynth.training.families.clip import ClipSettings, ClipTask
from terrasynth.training.families.scene import SceneSettings, SceneTask
from terrasynth.training.presets import Preset, load_preset
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.running.task import Outcome, Task

SCENE, CLIP = "scene-ucm", "clip-ucm"
WARMUP = 6  # the first of so many parts of the steps
Model = TypeVar("Model")


@dataclass(frozen=True)
class Fit:
    """How long and with what a network of a preset is trained.

    Attributes:
        size: Side in pixels at which it sees the images.
        seed: Of weights, order and views.
        validations: How often `val` may choose a checkpoint.
        minutes: Training ends then if that is earlier; the result is repeatable only where it is not.
    """

    size: int
    steps: int
    batch_size: int
    seed: int
    validations: int = 20
    minutes: float = math.inf
    name: str = "training"


def resized(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Images `uint8` (N, H, W, 3) cropped to a square and resized, (N, size, size, 3); the same where they are."""
    if images.shape[1:3] == (size, size):
        return images
    return np.stack([square(Image.fromarray(image), size) for image in images])


def picture_set(
    images: NDArray[np.uint8], labels: Sequence[str], names: tuple[str, ...], size: int,
    captions: Sequence[tuple[str, ...]] | None = None,
) -> PictureSet:
    """Arrays as the trainers want them.

    Args:
        images: `uint8` (N, H, W, 3).
        labels: The class of each, among `names`.
        names: All classes, sorted.
        size: Side in pixels.
        captions: Of each image; None for none.
    """
    index = {name: number for number, name in enumerate(names)}
    pixels = torch.from_numpy(resized(images, size)).permute(0, 3, 1, 2).contiguous()
    texts = ((),) * len(images) if captions is None else tuple(captions)
    return PictureSet(pixels, torch.tensor([index[label] for label in labels]), texts, names)


def trained_classifier(splits: dict[str, PictureSet], fit: Fit) -> tuple[SceneClassifier, Outcome]:
    """A scene classifier of the preset `scene-ucm`, from random weights; the best checkpoint on `val`.

    Args:
        splits: `train` and `val`.
    """
    preset = load_preset(SCENE)
    settings = SceneSettings.model_validate({**preset.model, "size": fit.size})
    return _trained(preset, fit, lambda device: SceneTask(splits, settings, device), load_classifier)


def trained_encoder(splits: dict[str, PictureSet], fit: Fit) -> tuple[Encoder, Outcome]:
    """A dual encoder of the preset `clip-ucm`, tokenizer included, from nothing; the best checkpoint on `val`.

    Args:
        splits: `train` and `val`, with captions.
    """
    preset = load_preset(CLIP)
    settings = ClipSettings.model_validate({**preset.model, "size": fit.size})
    return _trained(preset, fit, lambda device: ClipTask(splits, settings, device), load_encoder)


def _trained(
    preset: Preset, fit: Fit, task: Callable[[torch.device], Task], load: Callable[[Path, str], Model]
) -> tuple[Model, Outcome]:
    loop = LoopSettings.model_validate({
        **preset.loop, "seed": fit.seed, "max_steps": fit.steps, "minutes": fit.minutes,
        "warmup_steps": fit.steps // WARMUP, "batch_size": fit.batch_size,
        "validate_every": max(1, fit.steps // fit.validations), "checkpoint_every": fit.steps,
    })
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(fit.seed)  # the library draws initial weights from the global generator
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / fit.name
        outcome = train(task(device), loop, out)
        return load(out, str(device)), outcome
