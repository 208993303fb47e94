"""Judge a set of pictures with their texts and classes: every figure beside its null and its ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eval.diversity import mean_distance_within, mean_pairwise_distance, vendi_score
from eval.errors import InputError
from eval.frechet import FeatureStatistics, FrechetFloor, frechet_distance, frechet_floor
from eval.metrics import Figure, bootstrap_mean, derangement, per_class_accuracy

if TYPE_CHECKING:
    from eval.classifier import SceneClassifier
    from eval.encoders import Encoder


@dataclass(frozen=True)
class SceneFigures:
    """Is the asked-for class recognised?

    Attributes:
        accuracy: Share of pictures whose most probable class is their label.
        per_class: Class -> (share, n).
        chance: Accuracy of a guess, 1 / number of classes.
        ceiling: The same on the real reference pictures, where their labels were given.
        network: Identity of the classifier.
    """

    accuracy: Figure
    per_class: Mapping[str, tuple[float, int]]
    chance: float
    ceiling: Figure | None
    network: Mapping[str, object]


@dataclass(frozen=True)
class AlignmentFigures:
    """CLIP score: cosine of picture and text (CLIPScore, Hessel et al., EMNLP 2021, without its factor 2.5).

    Attributes:
        score: Mean cosine of the true pairs.
        null: Mean cosine when the texts are shuffled; None for a single picture.
        null_kind: What the shuffled texts are.
        ceiling: Mean cosine of real pairs, where reference texts were given.
        network: Identity of the encoder.
    """

    score: Figure
    null: Figure | None
    null_kind: str
    ceiling: Figure | None
    network: Mapping[str, object]


@dataclass(frozen=True)
class FrechetFigures:
    """Squared Frechet distance to the reference pictures, on features of the scene classifier.

    Attributes:
        distance: Between all pictures and all reference pictures.
        n: Pictures.
        n_reference: Reference pictures.
        floor: Real against real: disjoint samples of `n` pictures, or of half the reference where that is less.
        dim: Width of the features; with fewer pictures than this a covariance is singular and the distance biased.
        network: Identity of the classifier.
    """

    distance: float
    n: int
    n_reference: int
    floor: FrechetFloor
    dim: int
    network: Mapping[str, object]


@dataclass(frozen=True)
class DiversityFigures:
    """How different the pictures are from one another.

    Attributes:
        vendi: Vendi score; it grows with the number of pictures.
        distance: Mean of 1 - cosine over all pairs.
        distance_within: The same within classes, averaged over them; None where no class has two pictures.
        n: Pictures.
        real_vendi: The same of as many real pictures, a random sample where there are more.
        real_distance: The same.
        real_distance_within: The same.
        n_real: Real pictures, at most n; fewer make the first of the real figures smaller. 0 without reference.
        network: Identity of the network whose features these are.
    """

    vendi: float
    distance: float
    distance_within: float | None
    n: int
    real_vendi: float | None
    real_distance: float | None
    real_distance_within: float | None
    n_real: int
    network: Mapping[str, object]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        n: Pictures judged.
        seed: Seed of bootstrap, shuffling and splits.
        scene: Recognition of the class.
        alignment: Agreement with the text.
        frechet: Distance to real pictures, where reference pictures were given.
        diversity: On embeddings of the encoder and on features of the classifier; empty for a single picture.
    """

    n: int
    seed: int
    scene: SceneFigures
    alignment: AlignmentFigures
    frechet: FrechetFigures | None
    diversity: tuple[DiversityFigures, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Nested plain data, ready for `json.dump`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The figures for people, a line each."""
        scene, alignment = self.scene, self.alignment
        lines = [
            f"scene accuracy   {scene.accuracy}; chance {scene.chance:.3f}; ceiling {_optional(scene.ceiling)}; "
            f"network {_name(scene.network)}, seed {self.seed}",
            f"alignment        {alignment.score}; null {_optional(alignment.null)} ({alignment.null_kind}); "
            f"ceiling {_optional(alignment.ceiling)}; network {_name(alignment.network)}, seed {self.seed}",
        ]
        if self.frechet is not None:
            f = self.frechet
            lines.append(
                f"Frechet distance {f.distance:.3f} (n = {f.n} against {f.n_reference} real); real against real "
                f"{f.floor.mean:.3f} [{f.floor.low:.3f}, {f.floor.high:.3f}] (n = {f.floor.n} against {f.floor.n}); "
                f"{f.dim} features of {_name(f.network)}, seed {f.floor.seed}"
            )
        return lines + [
            f"Vendi score      {d.vendi:.3f} (n = {d.n}); real {_number(d.real_vendi)} (n = {d.n_real}); mean pairwise "
            f"distance {d.distance:.3f}, within classes {_number(d.distance_within)}; real {_number(d.real_distance)}, "
            f"{_number(d.real_distance_within)}; network {_name(d.network)}, seed {self.seed}"
            for d in self.diversity
        ]


def evaluate(
    images: NDArray[np.uint8], texts: Sequence[str], labels: Sequence[str], *, encoder: Encoder,
    classifier: SceneClassifier, reference_images: NDArray[np.uint8] | None = None,
    reference_texts: Sequence[str] | None = None, reference_labels: Sequence[str] | None = None, seed: int = 0,
) -> Evaluation:
    """Measure recognition, alignment and distance to real pictures.

    The encoder should be another one than the one that filtered the pictures; so should the reference be of pictures
    that neither the generator nor the evaluators were trained on.

    Args:
        images: `uint8` (N, H, W, 3).
        texts: The text of each picture.
        labels: The class of each picture, as the classifier names them.
        encoder: Gives the alignment.
        classifier: Gives recognition, and the features of the Frechet distance.
        reference_images: Real pictures `uint8` (M, H, W, 3), M >= 4; without them there is no Frechet distance.
        reference_texts: A caption of each, for the ceiling of the alignment.
        reference_labels: The class of each, for the ceiling of the recognition.
        seed: Of bootstrap, shuffling and splits.

    Raises:
        InputError: Numbers that do not match, a class that the classifier does not know, or too few pictures.
    """
    _check("pictures", images, texts, labels, classifier.labels)
    if reference_images is not None:
        _check("reference pictures", reference_images, reference_texts, reference_labels, classifier.labels)
        if len(images) < 2 or len(reference_images) < 4:
            raise InputError(f"{len(images)} pictures against {len(reference_images)} reference pictures: "
                             "a Frechet distance needs 2 and 4 at the least")
    elif reference_texts is not None or reference_labels is not None:
        raise InputError("reference texts or labels without reference_images: give the pictures too")
    judged = classifier.classify(images)
    embeddings = encoder.encode_images(images)
    real_embeddings = None if reference_images is None else encoder.encode_images(reference_images)
    real = None if reference_images is None else classifier.classify(reference_images)
    hits = _hits(judged.probabilities, labels, classifier.labels)
    ceiling = None
    if real is not None and reference_labels is not None:
        ceiling = bootstrap_mean(_hits(real.probabilities, reference_labels, classifier.labels), seed)
    scene = SceneFigures(
        bootstrap_mean(hits, seed), per_class_accuracy(hits, labels), 1 / len(classifier.labels), ceiling,
        classifier.identity(),
    )
    frechet = None
    if real is not None:
        frechet = _frechet(judged.features, real.features, classifier.identity(), seed)
    alignment = _alignment(encoder, embeddings, texts, labels, real_embeddings, reference_texts, seed)
    diversity: tuple[DiversityFigures, ...] = ()
    if len(images) > 1:
        diversity = (
            _diversity(embeddings, labels, real_embeddings, reference_labels, encoder.identity(), seed),
            _diversity(judged.features, labels, None if real is None else real.features, reference_labels,
                       classifier.identity(), seed),
        )
    return Evaluation(len(images), seed, scene, alignment, frechet, diversity)


def _alignment(
    encoder: Encoder, pictures: NDArray[np.float32], texts: Sequence[str], labels: Sequence[str],
    reference: NDArray[np.float32] | None, reference_texts: Sequence[str] | None, seed: int,
) -> AlignmentFigures:
    sentences = encoder.encode_texts(texts)
    null, null_kind = None, "none: a single picture"
    if (pairing := derangement(labels, seed)) is not None:
        partner, null_kind = pairing
        null = bootstrap_mean(np.einsum("nd,nd->n", pictures, sentences[partner]), seed)
    ceiling = None
    if reference is not None and reference_texts is not None:
        ceiling = bootstrap_mean(np.einsum("nd,nd->n", reference, encoder.encode_texts(reference_texts)), seed)
    score = bootstrap_mean(np.einsum("nd,nd->n", pictures, sentences), seed)
    return AlignmentFigures(score, null, null_kind, ceiling, encoder.identity())


def _diversity(
    features: NDArray[np.float32], labels: Sequence[str], real: NDArray[np.float32] | None,
    real_labels: Sequence[str] | None, network: Mapping[str, object], seed: int,
) -> DiversityFigures:
    real_vendi, real_distance, real_within, n_real = None, None, None, 0
    if real is not None:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(real))[: len(features)])
        n_real = len(chosen)
        real_vendi, real_distance = vendi_score(real[chosen]), mean_pairwise_distance(real[chosen])
        if real_labels is not None:
            real_within = _within(real[chosen], [real_labels[number] for number in chosen])
    return DiversityFigures(
        vendi_score(features), mean_pairwise_distance(features), _within(features, labels), len(features), real_vendi,
        real_distance, real_within, n_real, network,
    )


def _within(features: NDArray[np.float32], labels: Sequence[str]) -> float | None:
    return None if len(set(labels)) == len(labels) else mean_distance_within(features, labels)


def _frechet(
    features: NDArray[np.float32], real: NDArray[np.float32], network: Mapping[str, object], seed: int
) -> FrechetFigures:
    distance = frechet_distance(FeatureStatistics.of(features), FeatureStatistics.of(real))
    floor = frechet_floor(real, seed, n=min(len(features), len(real) // 2))
    return FrechetFigures(distance, len(features), len(real), floor, features.shape[1], network)


def _hits(probabilities: NDArray[np.float32], labels: Sequence[str], known: Sequence[str]) -> NDArray[np.bool_]:
    index = {label: number for number, label in enumerate(known)}
    hits: NDArray[np.bool_] = probabilities.argmax(1) == np.array([index[label] for label in labels])
    return hits


def _check(
    what: str, images: NDArray[np.uint8], texts: Sequence[str] | None, labels: Sequence[str] | None,
    known: Sequence[str],
) -> None:
    if not len(images):
        raise InputError(f"no {what}: give at least one")
    for name, values in (("texts", texts), ("labels", labels)):
        if values is not None and len(values) != len(images):
            raise InputError(f"{len(images)} {what} and {len(values)} {name}: give one for each")
    if unknown := sorted(set(labels or ()) - set(known)):
        raise InputError(f"class {unknown[0]!r} is unknown to the classifier; it knows {', '.join(known)}")


def _name(network: Mapping[str, object]) -> str:
    return f"{network.get('model')} {network.get('content') or network.get('revision') or ''}".strip()


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _optional(figure: Figure | None) -> str:
    return "not measured" if figure is None else str(figure)
