"""Judge a finished data set with models that did not choose its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.core.real_pictures import RealPictures
from terrasynth.synthesis.ledger.pictures import RunPictures
from terrasynth.synthesis.studies.judges import load_judges

if TYPE_CHECKING:

    from terrasynth.eval import CachedClassifier, CachedEncoder, Evaluation
    from terrasynth.eval.evaluation.judged import Judged
    from terrasynth.eval.evaluation.realism import RealismFigures

LEAST, LEAST_REAL = 2, 4


@dataclass(frozen=True)
class Judges:
    """The networks that judge, which remember on disk what they said.

    Attributes:
        further: Give features for further distances.
    """

    encoder: CachedEncoder
    classifier: CachedClassifier
    further: tuple[CachedEncoder, ...] = ()

    @classmethod
    def load(cls, encoder: str, classifier: str, features: Sequence[str] = (), cache: Path | None = None) -> Judges:
        """Load them.

        Args:
            encoder: Reference of the encoder; another one than filtered the rows.
            features: References of further networks, whatever `load_picture_encoder` takes.
            cache: Folder that keeps features of images and texts; None for none.

        Raises:
            InputError: A model that does not exist, or a folder that cannot be written.
        """
        from terrasynth.eval import CachedEncoder, load_picture_encoder

        scorer, scenes = load_judges(encoder, classifier, cache)
        with quiet():
            further = tuple(CachedEncoder(load_picture_encoder(name), cache) for name in dict.fromkeys(features))
        return cls(scorer, scenes, further)

    def of_run(self, pictures: RunPictures) -> Judged:
        """What they say about the images of a run."""
        return self._see(pictures.images, pictures.texts, pictures.labels, "images")

    def of_real(self, pictures: RealPictures) -> Judged:
        """What they say about real images."""
        return self._see(pictures.images, pictures.texts, pictures.labels, "real images")

    def _see(
        self, images: NDArray[np.uint8], texts: Sequence[str], labels: Sequence[str] | None, what: str
    ) -> Judged:
        from terrasynth.eval.evaluation.judged import judge

        return judge(images, texts, labels, encoder=self.encoder, classifier=self.classifier,
                     picture_encoders=self.further, what=what)


@dataclass(frozen=True)
class JudgedRun:
    """A run, what the networks said of it, and the figures.

    Attributes:
        real: What was said of real images; None without.
    """

    pictures: RunPictures
    judged: Judged
    real: Judged | None
    evaluation: Evaluation


def judge_run(pictures: RunPictures, judges: Judges, seed: int, real: Judged | None = None,
              realism: RealismFigures | None = None) -> JudgedRun:
    """Scene accuracy, alignment with its null, and with real images distances with their floors.

    Args:
        seed: Decides bootstrap, shuffling and splits.
        real: What the networks said of real images.
        realism: What texture and spectrum say beside them.

    Raises:
        InputError: Too few images.
    """
    from terrasynth.eval.evaluation.evaluate import measure

    check_numbers(len(pictures.images), real)
    judged = judges.of_run(pictures)
    return JudgedRun(pictures, judged, real, measure(judged, real, seed, realism=realism))


def check_numbers(n: int, real: Judged | None) -> None:
    """Check that there are images enough for a distance.

    Raises:
        InputError: Too few.
    """
    if real is not None and (n < LEAST or len(real) < LEAST_REAL):
        raise InputError(f"{n} images against {len(real)} real ones: a Frechet distance needs {LEAST} and "
                         f"{LEAST_REAL} at the least")


def realism_of(pictures: RunPictures, real: RealPictures, run: Path, seed: int) -> RealismFigures:
    """What texture and spectrum say of a run's images, and of real ones that its autoencoder coded and decoded.

    Args:
        run: The run directory, which names the generator.
    """
    from terrasynth.eval.evaluation.realism import realism_figures
    from terrasynth.synthesis.studies.coded_images import coded_images

    return realism_figures(pictures.images, real.images, coded_images(run, real.images), seed)


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write every figure as JSON."""
    write_file(path, json.dumps(evaluation.to_json(), indent=2) + "\n")
