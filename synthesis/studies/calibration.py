"""Calibrate the scene filter on real images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from terrasynth.prompts.scenes.wording import place_of
from terrasynth.synthesis.core.errors import InputError

if TYPE_CHECKING:
    from terrasynth.eval.models.calibration import Calibration
    from terrasynth.synthesis.core.real_pictures import RealPictures


def calibrate_scene(reference: str, pictures: RealPictures, split: str) -> Calibration:
    """Quantiles of the probability of the own class over real images.

    Args:
        pictures: Images that it was not trained on, with their classes.
        split: Where they came from; recorded.

    Raises:
        InputError: No such classifier, or it does not know a class.
    """
    from terrasynth.eval import load_classifier
    from terrasynth.eval.models.calibration import Calibration
    from terrasynth.synthesis.core.quiet import quiet

    if pictures.labels is None:
        raise InputError("the data names no classes, and a scene classifier is calibrated on them; add a class to each")
    with quiet():
        classifier = load_classifier(reference)
    places = [place_of(label, classifier.labels) for label in pictures.labels]
    if None in places:
        raise InputError(f"class {pictures.labels[places.index(None)]!r} is unknown to classifier {reference!r}, which "
                         f"knows {', '.join(classifier.labels)}")
    found = classifier.probabilities(pictures.images)
    scores = np.array([row[place] for row, place in zip(found, places, strict=True)], np.float32)
    return Calibration.of(classifier.identity(), split, scores, np.arange(len(scores)), pictures.labels)
