"""Judge a finished data set with models that did not choose its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from synthesis.errors import InputError
from synthesis.files import write_file
from synthesis.images import decode
from synthesis.quiet import quiet

if TYPE_CHECKING:
    from PIL import Image

    from eval import Evaluation


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
        open: Opens the picture.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def captions(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def open(self) -> Callable[[], Image.Image]: ...  # noqa: D102


def evaluate_run(
    run: Path, encoder: str, classifier: str, limit: int, seed: int, real: RealPictures | None = None,
    cache: Path | None = None,
) -> Evaluation:
    """Scene accuracy, alignment with its null, and with real pictures the Frechet distance with its floor.

    Args:
        run: A run directory with `data/`.
        encoder: Reference of the encoder; another one than filtered the rows.
        classifier: Reference of the scene classifier.
        limit: Most rows; the first ones, which spread evenly over the classes.
        seed: Decides bootstrap, shuffling and splits.
        real: Real pictures.
        cache: Folder that keeps features of pictures and texts; None for none.

    Raises:
        InputError: No data set there, or a model that does not exist.
    """
    from eval import CachedClassifier, CachedEncoder, evaluate, load_classifier, load_encoder

    rows = _rows(run, limit)
    with quiet():
        scorer = CachedEncoder(load_encoder(encoder), cache)
        scenes = CachedClassifier(load_classifier(classifier), cache)
    return evaluate(
        np.stack([decode(row["image"]["bytes"]) for row in rows]),
        [row["text"] for row in rows],
        [row["label"] for row in rows],
        encoder=scorer,
        classifier=scenes,
        reference_images=None if real is None else real.images,
        reference_texts=None if real is None else real.texts,
        reference_labels=None if real is None else real.labels,
        seed=seed,
    )


def picture_size(run: Path) -> tuple[int, int]:
    """Width and height of the pictures of a run.

    Raises:
        InputError: No data set there.
    """
    height, width, _ = decode(_rows(run, 1)[0]["image"]["bytes"]).shape
    return width, height


def stack(pictures: Sequence[Image.Image], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pictures resized to one (width, height): real ones lose the same detail as those they are compared with."""
    from PIL import Image

    return np.stack([np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)) for picture in pictures])


def real_pictures(pairs: Sequence[RealPair], size: tuple[int, int]) -> RealPictures:
    """Real pairs as arrays: pictures at one (width, height), the first captions, and the classes if all have one."""
    labels = tuple(pair.label for pair in pairs)
    return RealPictures(
        stack([pair.open() for pair in pairs], size),
        tuple(pair.captions[0] for pair in pairs),
        labels if all(labels) else None,
    )


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write every figure as JSON."""
    write_file(path, json.dumps(evaluation.to_json(), indent=2) + "\n")


def _rows(run: Path, limit: int) -> list[dict[str, Any]]:
    shards = sorted((run / "data").glob("train-*.parquet"))
    if not shards:
        raise InputError(f"{str(run)!r} has no data/train-*.parquet; give the folder of a finished run")
    batches = (
        batch
        for shard in shards
        for batch in pq.ParquetFile(shard).iter_batches(batch_size=100, columns=["image", "text", "label"])
    )
    return list(islice((row for batch in batches for row in batch.to_pylist()), limit))
