"""How well real images score with their own captions: the scale on which a generated image's score is read.

A cosine of 0.3 means nothing by itself, and what is a good score differs by class. So a threshold is stated as the
share of real pairs that reach it, and the scores of real pairs are shipped with the encoder.

What counts is how many images there are, not how many pairs: captions of one image score alike. And images that
lie next to each other in a data set are often tiles of one scene. Ten images of a class then tell neither where the
class's scores end nor where they lie, and a class of few images is judged by all pairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError

LEVELS = 201
"""Number of stored quantiles, evenly spaced from 0 to 1: steps of half a percent."""

OWN_TAIL = 10
"""Images of a class that a threshold has to leave out for the class's own quantile to be known: 200 at 0.95.

The share that such a quantile lets pass of new images then has a standard deviation of about a third of the share
that it is to leave out.
"""


@dataclass(frozen=True)
class Quantiles:
    """The distribution of real scores.

    Attributes:
        values: `LEVELS` scores, those of the quantiles 0 to 1, ascending.
    """

    n: int
    values: tuple[float, ...]

    @classmethod
    def of(cls, scores: NDArray[np.floating]) -> Quantiles:
        """Sample quantiles (N,) with linear interpolation (Hyndman & Fan 1996, definition 7)."""
        values = np.quantile(scores.astype(np.float64), np.linspace(0, 1, LEVELS))
        return cls(len(scores), tuple(round(float(value), 6) for value in values))

    def at(self, level: float) -> float:
        """The score at a quantile level from 0 to 1, linear between the stored ones."""
        return float(np.interp(level, np.linspace(0, 1, len(self.values)), self.values))


@dataclass(frozen=True)
class ClassScores:
    """What is known of the real pairs of a class.

    Attributes:
        pictures: How many different images are in them.
        quantiles: Of their scores; None where the images are too few for any threshold.
    """

    pictures: int
    quantiles: Quantiles | None = None


@dataclass(frozen=True)
class Calibration:
    """Scores of real image-caption pairs under one encoder.

    Attributes:
        encoder: Identity of the encoder that gave the scores.
        split: Where the pairs came from, for instance "val".
        pictures: Number of different images in them.
        overall: Quantiles of all pairs.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import Calibration
        >>> scores, picture = np.linspace(0, 1, 201), np.arange(201)
        >>> calibration = Calibration.of({"model": "mine"}, "val", scores, picture, ["forest"] * 201)
        >>> calibration.threshold("forest", pass_real=0.95), calibration.source("forest", pass_real=0.95)
        (0.05, 'class')
    """

    encoder: Mapping[str, object]
    split: str
    pictures: int
    classes: Mapping[str, ClassScores]
    overall: Quantiles

    @classmethod
    def of(
        cls, encoder: Mapping[str, object], split: str, scores: NDArray[np.floating], picture: NDArray[np.intp],
        labels: Sequence[str],
    ) -> Calibration:
        """Calibrate on scores.

        Args:
            scores: (P,), of pairs.
            picture: (P,), the number of the image of each pair.
            labels: N classes of the images.
        """
        names = np.array(labels, dtype=np.str_)
        classes = {}
        for name, count in zip(*np.unique(names, return_counts=True), strict=True):
            own = Quantiles.of(scores[names[picture] == name]) if count >= 2 * OWN_TAIL else None
            classes[str(name)] = ClassScores(int(count), own)
        return cls(encoder, split, len(names), classes, Quantiles.of(scores))

    def source(self, label: str, pass_real: float) -> Literal["class", "overall"]:
        """Whose real pairs `threshold` speaks of: the class's own, or all where it is unknown or has few images."""
        return "overall" if self._own(label, pass_real) is None else "class"

    def threshold(self, label: str, pass_real: float) -> float:
        """The score that a share of the real pairs of a class, or of all classes, reaches.

        Args:
            label: The class; `source` tells what is known of it.
            pass_real: The share, 0 to 1.

        Raises:
            InputError: `pass_real` is no share, or leaves out less than one of the calibration's images.
        """
        if not 0 <= pass_real <= 1:
            raise InputError(f"pass_real {pass_real}: not a share; give a number from 0 to 1")
        if (1 - pass_real) * self.pictures < 1 - 1e-9:
            most = int(1000 * (1 - 1 / self.pictures)) / 1000
            raise InputError(
                f"pass_real {pass_real}: the calibration has {self.pictures} real images, of which that leaves out "
                f"less than one; give {most} at the most, or calibrate on more images"
            )
        return round((self._own(label, pass_real) or self.overall).at(1 - pass_real), 6)

    def _own(self, label: str, pass_real: float) -> Quantiles | None:
        """The quantiles of a class that has images enough."""
        known = self.classes.get(label, ClassScores(0))
        return known.quantiles if known.pictures * (1 - pass_real) >= OWN_TAIL - 1e-9 else None

    def save(self, path: Path) -> None:
        """Write JSON; the same calibration always gives the same bytes."""
        content = {
            "encoder": dict(self.encoder),
            "split": self.split,
            "pictures": self.pictures,
            "overall": asdict(self.overall),
            "classes": {label: asdict(self.classes[label]) for label in sorted(self.classes)},
        }
        path.write_text(json.dumps(content, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            InputError: The file is no calibration, or of a version that counted pairs.
        """
        again = "remove it and make it again with `terrasynth eval calibrate`"
        try:
            content = json.loads(path.read_text())
            if "overall" in content and "pictures" not in content:
                raise InputError(f"{path}: a calibration of an earlier version, which counted pairs and not images; "
                                 f"{again}")
            return cls(
                encoder=content["encoder"], split=content["split"], pictures=int(content["pictures"]),
                classes={label: _class_scores(entry) for label, entry in content["classes"].items()},
                overall=_quantiles(content["overall"]),
            )
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a calibration ({error!r}); {again}") from error


def _class_scores(entry: Mapping[str, Any]) -> ClassScores:
    own = entry["quantiles"]
    return ClassScores(int(entry["pictures"]), None if own is None else _quantiles(own))


def _quantiles(entry: Mapping[str, object]) -> Quantiles:
    values = entry["values"]
    n = entry["n"]
    if not isinstance(values, list) or len(values) < 2 or not isinstance(n, int):
        raise ValueError("quantiles need 'n' and a list 'values'")
    return Quantiles(n, tuple(float(value) for value in values))
