"""What a judge of one's own classes can do, on real images that it was not fitted to: the file beside its heads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import one_line
from terrasynth.eval.errors import InputError
from terrasynth.eval.evaluation.confusion import Mistake
from terrasynth.eval.metrics.figure import STUDENT_95, Figure, share_of, wilson
from terrasynth.eval.metrics.intervals import NORMAL_95
from terrasynth.eval.models.references import FIGURES_FILE

LEAST = 5
"""Held-out images of a class below which nothing is said of it."""

COIN = 0.5
"""What an area under the curve is where scores tell nothing."""


@dataclass(frozen=True)
class ClassFigures:
    """What a judge can do with one class; None where fewer than `LEAST` images were held out.

    Attributes:
        n: Held-out images.
        recognized: Share of them whose most probable class is their own.
        scene: How often the probability of the class is higher for an image of it than for one of another class.
        alignment: How often an image of the class scores higher with its own text than one of another class with a
            text of this class.
    """

    n: int
    recognized: Figure | None
    scene: Figure | None
    alignment: Figure | None


@dataclass(frozen=True)
class JudgeFigures:
    """What a judge can do.

    Attributes:
        split: Where the held-out images came from.
        side: Theirs in pixels.
        classes: By class.
        accuracy: Share of the images whose most probable class is their own.
        halved: The same of the images at half their side.
        chance: The same by a guess: 1 / number of classes.
        loss: Mean negative log-likelihood of the own class in nats; a guess has `guess_loss`.
        scene: As in `ClassFigures`, over all images of measured classes; None where no class is measured.
        alignment: The same.
        mistakes: Classes that are taken for one another, the most frequent first.
    """

    split: str
    side: int
    classes: Mapping[str, ClassFigures]
    accuracy: Figure
    halved: Figure
    chance: float
    loss: float
    guess_loss: float
    scene: Figure | None
    alignment: Figure | None
    mistakes: tuple[Mistake, ...]

    def save(self, folder: Path) -> None:
        """Write the file beside a judge's heads; the same figures always give the same bytes."""
        (folder / FIGURES_FILE).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")


def load_judge_figures(folder: Path) -> JudgeFigures | None:
    """What the file beside a judge's heads says; None without one.

    Raises:
        InputError: It says nothing that can be read.
    """
    from pydantic import TypeAdapter, ValidationError

    path = folder / FIGURES_FILE
    if not path.is_file():
        return None
    try:
        return TypeAdapter(JudgeFigures).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} holds no figures of a judge ({one_line(error, 100)}); make it again with "
                         "`terrasynth train judge`") from error


def measure_judge(
    probabilities: NDArray[np.float32], halved: NDArray[np.float32], images: NDArray[np.float32],
    texts: NDArray[np.float32], image_of: NDArray[np.intp], labels: Sequence[str], known: Sequence[str], *, split: str,
    side: int,
) -> JudgeFigures:
    """Measure a judge on held-out images.

    Args:
        probabilities: float32 (N, C).
        halved: The same of the images at half their side.
        images: float32 (N, D), of unit length.
        texts: float32 (P, D), of unit length or zeros.
        image_of: (P,), the image that each text belongs to; each image has one at least.
        labels: N classes, each one of `known`.
        known: The C classes.
        split: Where the images came from.
        side: Theirs in pixels.
    """
    place = np.array([known.index(label) for label in labels])
    seen = probabilities.argmax(1)
    scores = images @ texts.T
    by_class: dict[str, ClassFigures] = {}
    scenes, alignments = [], []
    for number, label in enumerate(known):
        own = place == number
        n = int(own.sum())
        if n < LEAST or n == len(place):
            by_class[label] = ClassFigures(n, None, None, None)
            continue
        scene = _share_below(probabilities[own, number], probabilities[~own, number])
        mine = np.flatnonzero(own[image_of])
        below = _share_below(scores[image_of[mine], mine], scores[np.ix_(~own, mine)].ravel())
        aligned = np.array([below[image_of[mine] == row].mean() for row in np.flatnonzero(own)])
        by_class[label] = ClassFigures(n, share_of(seen[own] == number), _mean(scene), _mean(aligned))
        scenes.append(scene)
        alignments.append(aligned)
    wrong = [(known[a], known[b], int(((place == a) & (seen == b)).sum()), int((place == a).sum()))
             for a in range(len(known)) for b in range(len(known)) if a != b]
    mistakes = sorted((Mistake(*each) for each in wrong if each[2]), key=lambda one: (-one.count, one.asked, one.seen))
    likelihood = np.maximum(probabilities[np.arange(len(place)), place].astype(np.float64), 1e-12)
    return JudgeFigures(
        split, side, by_class, share_of(seen == place), share_of(halved.argmax(1) == place), 1 / len(known),
        max(0.0, float(-np.log(likelihood).mean())), math.log(len(known)),
        _mean(np.concatenate(scenes)) if scenes else None, _mean(np.concatenate(alignments)) if alignments else None,
        tuple(mistakes),
    )


def _mean(shares: NDArray[np.float64]) -> Figure:
    """The mean of shares (N,), N >= 2, with Student's interval within 0 and 1; that of `wilson` without a spread."""
    n, mean = len(shares), float(shares.mean())
    error = float(shares.std(ddof=1)) / math.sqrt(n)
    if error <= 1e-12:
        return Figure(mean, *wilson(mean, n), n)
    half = (STUDENT_95[n - 2] if n - 2 < len(STUDENT_95) else NORMAL_95) * error
    return Figure(mean, max(0.0, mean - half), min(1.0, mean + half), n)


def _share_below(own: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each own score (N,), the share of the others (M,) below it, half of those that are equal.

    Their mean is the area under the ROC curve (Hanley & McNeil, Radiology 1982).
    """
    ordered = np.sort(others)
    found: NDArray[np.float64] = (np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right")) / (
        2 * len(ordered))
    return found
