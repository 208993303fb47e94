"""What judges the filters of a run: its attempts, and models that are not the filters' own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.evaluation.figures import network_name, network_of
from terrasynth.prompts.scenes.wording import place_of
from terrasynth.synthesis.core.images import decode_all
from terrasynth.synthesis.filters.base import FilterSettings
from terrasynth.synthesis.ledger.attempts import Attempts
from terrasynth.synthesis.studies.judges import load_judges

if TYPE_CHECKING:
    from terrasynth.eval import Encoder, SceneClassifier
    from terrasynth.eval.metrics.random_keep import KeepMetric
    from terrasynth.synthesis.core.real_pictures import RealPictures

NEEDED_REAL = 6  # coverage looks at the fifth neighbor of each
PART = 128  # attempts in memory at a time


@dataclass(frozen=True)
class AttemptJudgments:
    """The models that judge the filters, and what they say about all attempts.

    Attributes:
        alignment: float32 (N,), of the encoder.
        embeddings: float32 (N, D), of the encoder.
        seen: bool (N,), whether the classifier sees the class; None where it does not know every class.
        named: bool (N,), whether the encoder finds the texts of the class nearer than those of any other.
        features: float32 (N, F), of the classifier.
        real_embeddings: float32 (M, D) of real images; None without.
        real_features: float32 (M, F) of real images; None without.
    """

    encoder: Encoder
    classifier: SceneClassifier
    alignment: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    seen: NDArray[np.bool_] | None
    named: NDArray[np.bool_]
    features: NDArray[np.float32]
    real_embeddings: NDArray[np.float32] | None
    real_features: NDArray[np.float32] | None


def judge_attempts(
    attempts: Attempts, encoder: str, classifier: str, real: RealPictures | None, device: str,
    cache: Path | None = None,
) -> AttemptJudgments:
    """What the judging models say about all attempts, and about real images where there are any.

    Args:
        attempts: All attempts that the filters judged.
        encoder: Model reference of a dual encoder.
        classifier: Model reference of a scene classifier.
        real: Real images; None for none.
        cache: Folder that keeps features of images and texts; None for none.

    Raises:
        InputError: A model that does not exist, or a folder that cannot be written.
    """
    scorer, scenes = load_judges(encoder, classifier, cache, device)
    pictures, sentences, probabilities, features = [], [], [], []
    for tables in _in_parts(attempts.read(["image", "text"]), max(1, PART // attempts.blocks.block_size)):
        rows = [row for table in tables for row in table.to_pylist()]
        if not rows:
            continue
        images = decode_all(row["image"]["bytes"] for row in rows)
        pictures.append(scorer.encode_images(images))
        sentences.append(scorer.encode_texts([row["text"] for row in rows]))
        said = scenes.classify(images)
        probabilities.append(said.probabilities)
        features.append(said.features)
    embeddings, texts = np.concatenate(pictures), np.concatenate(sentences)
    wanted = [place_of(label, scenes.labels) for label in attempts.labels]
    best = np.concatenate(probabilities).argmax(1)
    return AttemptJudgments(
        encoder=scorer, classifier=scenes, alignment=(embeddings * texts).sum(1), embeddings=embeddings,
        seen=None if None in wanted else best == np.array(wanted), named=_named(embeddings, texts, attempts.labels),
        features=np.concatenate(features),
        real_embeddings=None if real is None else scorer.encode_images(real.images),
        real_features=None if real is None else scenes.features(real.images),
    )


def _in_parts(tables: Iterator[Any], count: int) -> Iterator[list[Any]]:
    while part := list(islice(tables, count)):
        yield part


def _named(embeddings: NDArray[np.float32], texts: NDArray[np.float32], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Whether the mean of the texts of an image's own class is nearer to it than that of any other class."""
    names, codes = np.unique(np.array(labels, dtype=np.str_), return_inverse=True)
    centres = np.stack([texts[codes == code].mean(0) for code in range(len(names))])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return np.asarray((embeddings @ centres.T).argmax(1) == codes)


def keep_metrics(
    judging: AttemptJudgments, labels: Sequence[str], used: Sequence[tuple[FilterSettings, Any]]
) -> list[KeepMetric]:
    """What the filters are judged by: models that are not their own, where there is one."""
    from terrasynth.eval.metrics.random_keep import KeepMetric, coverage_of, distance_within_of, frechet_of, mean_of

    own = [model.identity() for _, model in used if model is not None]
    by_classifier = judging.classifier.identity() not in own and judging.seen is not None
    own_encoder = judging.encoder.identity() in own
    against_copies = all(settings.against_copies for settings, _ in used)
    network = network_name(network_of(judging.classifier if by_classifier else judging.encoder))
    words = "" if by_classifier else (
        "by the texts of the classes, since the classifier is the filter's own" if judging.seen is not None
        else "by the texts of the classes, since the classifier does not know all of them"
    )
    features = judging.features if by_classifier else judging.embeddings
    real = judging.real_features if by_classifier else judging.real_embeddings
    # Where the filter's own model is the only one there is, its figures are shown and decide nothing.
    counted = by_classifier or not own_encoder
    shown = "" if counted else "not counted: there is no model but the filter's own"
    hits = judging.seen if by_classifier and judging.seen is not None else judging.named
    metrics = [
        KeepMetric("scene accuracy", network, True, mean_of(hits), counted, shown or words),
        KeepMetric("CLIP score", network_name(network_of(judging.encoder)), True, mean_of(judging.alignment),
                   not own_encoder, "not counted: the filter's own encoder" if own_encoder else ""),
    ]
    if real is not None and len(real) >= NEEDED_REAL:
        metrics += [
            KeepMetric("Frechet distance", network, False, frechet_of(features, real), counted, shown),
            KeepMetric("coverage", network, True, coverage_of(features, real), counted, shown),
        ]
    apart = "" if against_copies else "not counted: only filters against copies are there for variety"
    metrics.append(KeepMetric("distance within", network, True, distance_within_of(features, labels),
                              counted and against_copies, shown or apart))
    return metrics
