"""Zero-shot accuracy (Txt2Img-MHN, Xu et al., IEEE TIP 2023): train on generated images, test on real.

The same function gives the ceiling when it is handed as many real training images in place of generated ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from terrasynth.eval.images import check_images
from terrasynth.eval.metrics.figure import Figure, bootstrap_mean, per_class_accuracy
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.studies.trainings import TrainedAccuracy
from terrasynth.training.data.pictures import PictureSet
from terrasynth.training.errors import InputError
from terrasynth.training.presets import load_preset
from terrasynth.training.studies.arrays import SCENE, Fit, picture_set, resized, trained_classifier

HELD_OUT = 10  # one image of so many chooses the checkpoint


@dataclass(frozen=True)
class ZeroShotResult:
    """What a classifier that was trained on one source of images makes of real ones.

    Attributes:
        accuracy: Share of the real images whose class it names.
        per_class: Class of the real images -> (share, n).
        chance: Accuracy of a guess, 1 / number of classes.
        n_train: Images it was trained on.
        n_val: Images of the same source that chose the checkpoint.
        seed: Of weights, order, views, the held-out images and the bootstrap.
    """

    accuracy: Figure
    per_class: Mapping[str, tuple[float, int]]
    chance: float
    n_train: int
    n_val: int
    n_test: int
    steps: int
    seed: int

    def line(self) -> str:
        """The figures for people."""
        return (f"zero-shot accuracy {self.accuracy}; chance {self.chance:.3f}; trained on {self.n_train} images, "
                f"chosen on {self.n_val}, {self.steps} steps, seed {self.seed}")


def zero_shot_accuracy(
    images: NDArray[np.uint8], labels: Sequence[str], reference_images: NDArray[np.uint8],
    reference_labels: Sequence[str], size: int = 128, steps: int = 600, minutes: float = math.inf, seed: int = 0,
) -> ZeroShotResult:
    """Train a classifier as the preset `scene-ucm` does, on `images` alone, and ask it about real images.

    A tenth of `images`, spread over the classes, chooses the checkpoint. No real image has a part in training. A
    class that has real images and no others counts as missed.

    Args:
        images: What to train on, `uint8` (N, H, W, 3), N >= 3.
        reference_images: Real images `uint8` (M, h, w, 3), M >= 1.
        size: Side in pixels at which the classifier sees all of them; others are cropped to a square and resized.
        steps: Training steps, > 0.
        minutes: Training ends then if that is earlier; the result is repeatable only where it is not.
        seed: Decides the result.

    Raises:
        InputError: Numbers that do not match, too few images, or a class without a real image.
        TypeError: Images that are not `uint8`.
        ValueError: Images that are not (N, H, W, 3).
    """
    _check(images, labels, reference_images, reference_labels)
    names = tuple(sorted(set(reference_labels)))
    splits = _split(picture_set(images, labels, names, size), seed)
    batch_size = min(int(load_preset(SCENE).loop["batch_size"]), len(splits["train"]))
    fit = Fit(size, steps, batch_size, seed, minutes=minutes, name="zero-shot")
    classifier, outcome = trained_classifier(splits, fit)
    found = classifier.probabilities(resized(reference_images, size)).argmax(1)
    hits = np.array(classifier.labels)[found] == np.array(reference_labels)
    return ZeroShotResult(
        bootstrap_mean(hits, seed), per_class_accuracy(hits, reference_labels), 1 / len(names), len(splits["train"]),
        len(splits["val"]), len(reference_images), outcome.steps, seed,
    )


def train_and_test(
    images: NDArray[np.uint8], labels: Sequence[str], reference_images: NDArray[np.uint8],
    reference_labels: Sequence[str], steps: int, seed: int,
) -> TrainedAccuracy:
    """`zero_shot_accuracy` at the images' own size, as the evaluation protocols ask for it.

    Generated images give the zero-shot overall accuracy of Txt2Img-MHN, and as many as there are real training
    images give the classification accuracy score (Ravuri & Vinyals, NeurIPS 2019, section 3), at our small network.

    Raises:
        InputError: As `zero_shot_accuracy`.
    """
    size = images.shape[1]
    with quiet():
        found = zero_shot_accuracy(
            images, labels, reference_images, reference_labels, size=size, steps=steps, seed=seed
        )
    return TrainedAccuracy(
        found.accuracy, found.chance, found.n_train, found.n_val, found.steps,
        f"the network of preset {SCENE} at {size} px, from random weights",
    )


def _check(images: NDArray[np.uint8], labels: Sequence[str], reference_images: NDArray[np.uint8],
           reference_labels: Sequence[str]) -> None:
    for what, pictures, own in (("images", images, labels), ("real images", reference_images, reference_labels)):
        check_images(pictures)
        if len(own) != len(pictures):
            raise InputError(f"{len(pictures)} {what} and {len(own)} labels: give one for each")
    if len(images) < 3 or not len(reference_images):
        raise InputError(f"{len(images)} images and {len(reference_images)} real images: 3 to train on and 1 to "
                         "test on are the least")
    if unknown := sorted(set(labels) - set(reference_labels)):
        raise InputError(f"class {unknown[0]!r} has no real image to be tested on; there are: "
                         f"{', '.join(sorted(set(reference_labels)))}")


def _split(data: PictureSet, seed: int) -> dict[str, PictureSet]:
    """`val`: every tenth image, in an order that goes class by class and is random within each."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    order = order[data.labels[order].argsort(stable=True)]
    held_out = torch.zeros(len(data), dtype=torch.bool)
    held_out[order[::HELD_OUT]] = True
    rows = {"train": (~held_out).nonzero()[:, 0], "val": held_out.nonzero()[:, 0]}
    return {name: PictureSet(data.pixels[own], data.labels[own], ((),) * len(own), data.label_names)
            for name, own in rows.items()}
