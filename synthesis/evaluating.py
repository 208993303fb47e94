"""Judge a finished data set with models that did not choose its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from synthesis.errors import InputError, one_line
from synthesis.files import write_file
from synthesis.judges import load_judges
from synthesis.quiet import quiet
from synthesis.run_pictures import RunPictures

if TYPE_CHECKING:
    from PIL import Image

    from eval import CachedClassifier, CachedEncoder, Evaluation
    from eval.judged import Judged
    from eval.realism_figures import RealismFigures

LEAST, LEAST_REAL = 2, 4


@dataclass(frozen=True)
class RealPictures:
    """Real pictures to compare with.

    Attributes:
        images: uint8 (M, H, W, 3).
        texts: A caption of each.
        labels: The class of each; None where the data names none.
    """

    images: NDArray[np.uint8]
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None


class RealPair(Protocol):
    """One real picture with its captions, as readers of image-caption data give it.

    Attributes:
        name: File name or row number.
        label: Class, or "" where the data names none.
        captions: At least one.
        open: Opens the image as RGB.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def captions(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def open(self) -> Callable[[], Image.Image]: ...  # noqa: D102


@dataclass(frozen=True)
class Judges:
    """The networks that judge, which remember on disk what they said.

    Attributes:
        encoder: Scores pictures against texts.
        classifier: Names scenes.
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
            classifier: Reference of the scene classifier.
            features: References of further networks, whatever `load_picture_encoder` takes.
            cache: Folder that keeps features of pictures and texts; None for none.

        Raises:
            InputError: A model that does not exist, or a folder that cannot be written.
        """
        from eval import CachedEncoder, load_picture_encoder

        scorer, scenes = load_judges(encoder, classifier, cache)
        with quiet():
            further = tuple(CachedEncoder(load_picture_encoder(name), cache) for name in dict.fromkeys(features))
        return cls(scorer, scenes, further)

    def of_run(self, pictures: RunPictures) -> Judged:
        """What they say about the pictures of a run."""
        return self._see(pictures.images, pictures.texts, pictures.labels, "pictures")

    def of_real(self, pictures: RealPictures) -> Judged:
        """What they say about real pictures."""
        return self._see(pictures.images, pictures.texts, pictures.labels, "real pictures")

    def _see(
        self, images: NDArray[np.uint8], texts: Sequence[str], labels: Sequence[str] | None, what: str
    ) -> Judged:
        from eval.judged import judge

        return judge(images, texts, labels, encoder=self.encoder, classifier=self.classifier,
                     picture_encoders=self.further, what=what)


@dataclass(frozen=True)
class JudgedRun:
    """A run, what the networks said of it, and the figures.

    Attributes:
        pictures: Of the run.
        judged: What was said of them.
        real: What was said of real pictures; None without.
        evaluation: The figures.
    """

    pictures: RunPictures
    judged: Judged
    real: Judged | None
    evaluation: Evaluation


def judge_run(pictures: RunPictures, judges: Judges, seed: int, real: Judged | None = None,
              realism: RealismFigures | None = None) -> JudgedRun:
    """Scene accuracy, alignment with its null, and with real pictures distances with their floors.

    Args:
        pictures: Of the run.
        judges: The networks.
        seed: Decides bootstrap, shuffling and splits.
        real: What the networks said of real pictures.
        realism: What texture and spectrum say beside them.

    Raises:
        InputError: Too few pictures, or a class that the classifier does not know.
    """
    from eval.evaluation import measure

    check_numbers(len(pictures.images), real)
    judged = judges.of_run(pictures)
    return JudgedRun(pictures, judged, real, measure(judged, real, seed, realism=realism))


def check_numbers(n: int, real: Judged | None) -> None:
    """Check that there are pictures enough for a distance.

    Raises:
        InputError: Too few.
    """
    if real is not None and (n < LEAST or len(real) < LEAST_REAL):
        raise InputError(f"{n} pictures against {len(real)} real ones: a Frechet distance needs {LEAST} and "
                         f"{LEAST_REAL} at the least")


def realism_of(pictures: RunPictures, real: RealPictures, run: Path, seed: int) -> RealismFigures:
    """What texture and spectrum say of a run's pictures, and of real ones that its autoencoder coded and decoded.

    Args:
        pictures: Of the run.
        real: Real pictures at their size.
        run: The run directory, which names the generator.
        seed: Of folds and halves.
    """
    from eval.realism_figures import realism_figures
    from synthesis.coded_images import coded_images

    return realism_figures(pictures.images, real.images, coded_images(run, real.images), seed)


def stack(pictures: Sequence[Image.Image], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pictures resized to one (width, height): real ones lose the same detail as those they are compared with."""
    from PIL import Image

    return np.stack([np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)) for picture in pictures])


def real_pictures(pairs: Sequence[RealPair], size: tuple[int, int]) -> RealPictures:
    """Real pairs as arrays: pictures at one (width, height), the first captions, and the classes if all have one.

    Raises:
        InputError: A picture that cannot be read.
    """
    labels = tuple(pair.label for pair in pairs)
    return RealPictures(
        real_images(pairs, size),
        tuple(pair.captions[0] for pair in pairs),
        labels if all(labels) else None,
    )


def real_images(pairs: Sequence[RealPair], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pictures of real pairs at one (width, height), uint8 (N, H, W, 3); one at a time is in memory as it was.

    Raises:
        InputError: A picture that cannot be read.
    """
    return np.concatenate([stack([opened(pair)], size) for pair in pairs])


def opened(pair: RealPair) -> Image.Image:
    """The picture of a real pair, decoded.

    Raises:
        InputError: It cannot be read.
    """
    try:
        picture = pair.open()
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for broken files
        raise InputError(f"real picture {pair.name!r} cannot be read ({one_line(error)[:240]}); repair it or take it "
                         "out of the data") from error
    return picture


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write every figure as JSON."""
    write_file(path, json.dumps(evaluation.to_json(), indent=2) + "\n")
