"""What a model takes labeled images for: any image classifier, or a linear probe on frozen features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.probes import fit_probes
from terrasynth.eval.models.classifiers import SceneClassifier
from terrasynth.eval.models.dual_encoders import PictureEncoder
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.real_pictures import RealPair, opened, stack
from terrasynth.synthesis.targeting.confusions import Confusions

HELD_BACK = "test"
PENALTIES = (1.0, 0.1, 0.01)
WEIGHTS = (1.0, 0.3, 0.1, 0.03)
"""Of a synthetic image where a real one has 1."""

AT_ONCE = 64

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Probed:
    """What a linear probe took images for, and how it was chosen.

    Attributes:
        penalty: Of its squared weights.
        weight: Of a synthetic image; 1 without any.
        n_train: Real images that it learned from.
        n_synthetic: Synthetic images that it learned from.
    """

    confusions: Confusions
    penalty: float
    weight: float
    n_train: int
    n_synthetic: int


@dataclass(frozen=True)
class Synthetic:
    """Images of a run for a probe to learn from.

    Attributes:
        images: uint8 (N, H, W, 3).
        labels: The class of each.
    """

    images: Images
    labels: tuple[str, ...]


def refuse_test(split: str) -> None:
    """Refuse to choose on the images that figures are reported on.

    Raises:
        InputError: It is that split.
    """
    if split.strip().lower() == HELD_BACK:
        raise InputError(f"split {split!r} is what results are reported on, and what is drawn would be chosen on it; "
                         "choose on val")


def classified(pairs: Sequence[RealPair], classifier: SceneClassifier) -> Confusions:
    """What a classifier takes images for, each read at its own size.

    Args:
        pairs: Real images with their classes.

    Raises:
        InputError: An image without a class, or one that cannot be read.
    """
    seen: list[str] = []
    for images in _portions(pairs, None):
        seen += [classifier.labels[place] for place in classifier.probabilities(images).argmax(1)]
    return Confusions.of(zip(_labels(pairs), seen, strict=True))


def probed(train: Sequence[RealPair], asked: Sequence[RealPair], encoder: PictureEncoder,
           synthetic: Synthetic | None = None, say: Callable[[str], None] = lambda line: None) -> Probed:
    """What a linear probe on frozen features takes images for.

    It is a multinomial logistic regression on all of `train`, and on the images of a run beside them, if there is one.
    Penalty and the weight of a synthetic image are those that recognize the most of the images asked about; of equally
    good ones the first. So its recall on them is rather too good, by as much as a choice among a few brings.

    Args:
        train: Real images to learn from.
        asked: Real images to be recognized.
        synthetic: Images of a run; all are then read at their size.

    Raises:
        InputError: An image without a class, one that cannot be read, or a single class to learn.
    """
    real, wanted = _labels(train), _labels(asked)
    names = sorted({*real, *(synthetic.labels if synthetic else ())})
    if len(set(real)) < 2:
        raise InputError(f"the images to learn from have one class, {real[0]!r}; a probe needs two to tell apart")
    size = None if synthetic is None else (synthetic.images.shape[2], synthetic.images.shape[1])
    known = [_features(train, encoder, size)]
    if synthetic is not None:
        known.append(encoder.features(synthetic.images))
    features = np.concatenate(known)
    say(f"{len(features):,} images to learn from and {len(asked):,} to be recognized, of {encoder.dim:,} features each")
    target = np.searchsorted(names, [*real, *(synthetic.labels if synthetic else ())])
    unknown = _features(asked, encoder, size)
    rows = np.arange(len(features))[None]
    best: tuple[float, float, float, list[str]] | None = None
    for weight in WEIGHTS if synthetic is not None else (1.0,):
        weights = np.where(rows < len(real), 1.0, weight)
        for penalty in PENALTIES:
            places = fit_probes(features, rows, target, len(names), penalty, weights).predict(unknown)[0]
            seen = [names[place] for place in places]
            right = float(np.mean([one == other for one, other in zip(seen, wanted, strict=True)]))
            if best is None or right > best[0]:
                best = right, penalty, weight, seen
    assert best is not None
    _, penalty, weight, seen = best
    return Probed(Confusions.of(zip(wanted, seen, strict=True)), penalty, weight, len(real),
                  len(features) - len(real))


def _labels(pairs: Sequence[RealPair]) -> list[str]:
    for pair in pairs:
        if not pair.label:
            raise InputError(f"image {pair.name!r} has no class, and recall is that of classes; use data with classes")
    return [pair.label for pair in pairs]


def _features(pairs: Sequence[RealPair], encoder: PictureEncoder, size: tuple[int, int] | None) -> NDArray[np.float32]:
    return np.concatenate([encoder.features(images) for images in _portions(pairs, size)])


def _portions(pairs: Sequence[RealPair], size: tuple[int, int] | None) -> Iterator[Images]:
    """Images in order, `AT_ONCE` at the most and of one size; at their own size without one."""
    for start in range(0, len(pairs), AT_ONCE):
        pictures = [opened(pair) for pair in pairs[start : start + AT_ONCE]]
        for own, some in groupby(pictures, key=lambda picture: picture.size):
            yield stack(list(some), size or own)
