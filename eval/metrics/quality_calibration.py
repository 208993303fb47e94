"""What the measures of `terrasynth.eval.metrics.picture_quality` are on real images: the scale for generated ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.metrics.picture_quality import IDENTITY, MEASURES, measure_quality
from terrasynth.eval.models.calibration import Quantiles
from terrasynth.hashing import text_hash

SHIPPED = Path(__file__).parents[1] / "references"


@dataclass(frozen=True)
class QualityCalibration:
    """Quantiles of every measure by image size.

    Attributes:
        split: Where in it the images came from.
        sizes: Side in pixels -> measure -> quantiles.
    """

    data: str
    split: str
    sizes: Mapping[int, Mapping[str, Quantiles]]

    @staticmethod
    def shipped(name: str) -> Path:
        """Where a calibration that comes with the package lies."""
        return SHIPPED / f"quality-{name}.json"

    @classmethod
    def of(cls, pictures: Mapping[int, NDArray[np.uint8]], data: str, split: str) -> QualityCalibration:
        """Measure real images, uint8 (N, S, S, 3) for every side S."""
        sizes = {}
        for side, images in sorted(pictures.items()):
            columns = measure_quality(images).T
            sizes[side] = {name: Quantiles.of(values) for name, values in zip(MEASURES, columns, strict=True)}
        return cls(data, split, sizes)

    def threshold(self, measure: str, side: int, pass_real: float) -> float:
        """The value that a share of the real images of a size is as good as.

        Args:
            measure: One of `MEASURES`.
            side: The shorter side of the images, in pixels.
            pass_real: The share, 0 to 1.

        Raises:
            InputError: No real images of that size were measured.
        """
        if side not in self.sizes:
            known = ", ".join(str(each) for each in sorted(self.sizes))
            raise InputError(
                f"pass_real {pass_real}: the quality of real images was measured at {known} px and these have "
                f"{side}; give an absolute threshold, or measure real images of that size with `terrasynth eval "
                "calibrate`"
            )
        level = 1 - pass_real if MEASURES[measure].low_is_bad else pass_real
        return round(self.sizes[side][measure].at(level), 6)

    @property
    def content(self) -> str:
        """First 16 hex digits of the SHA-256 of what `save` writes."""
        return text_hash(self._text())

    def save(self, path: Path) -> None:
        """Write JSON; the same calibration always gives the same bytes."""
        path.write_text(self._text())

    def _text(self) -> str:
        content = {
            "measures": dict(IDENTITY), "data": self.data, "split": self.split,
            "sizes": {
                str(side): {name: asdict(each) for name, each in measures.items()}
                for side, measures in sorted(self.sizes.items())
            },
        }
        return json.dumps(content, separators=(",", ":")) + "\n"

    @classmethod
    def load(cls, path: Path) -> QualityCalibration:
        """Read what `save` wrote.

        Raises:
            InputError: The file is no calibration, or one of other measures.
        """
        try:
            content = json.loads(path.read_text())
            if content["measures"] != dict(IDENTITY):
                raise ValueError(f"it is of measures {content['measures']}, and these are {dict(IDENTITY)}")
            sizes = {
                int(side): {name: Quantiles(each["n"], tuple(each["values"])) for name, each in measures.items()}
                for side, measures in content["sizes"].items()
            }
            return cls(content["data"], content["split"], sizes)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a calibration of quality ({error}); make it again with `terrasynth eval "
                             "calibrate`") from error
