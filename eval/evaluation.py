"""Judge a set of pictures with their texts and classes: every figure beside its null and its ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eval.distances import NO_REFERENCE, ONLY_STATISTICS, compare, compare_embeddings
from eval.diversity import mean_distance_within, mean_pairwise_distance, vendi_score
from eval.errors import InputError
from eval.figures import (
    AlignmentFigures,
    CmmdFigures,
    CoverageFigures,
    Distances,
    DiversityFigures,
    FrechetFigures,
    InceptionFigures,
    KernelFigures,
    NotMeasured,
    RetrievalFigures,
    SceneFigures,
)
from eval.floors import as_many_real
from eval.frechet import FeatureStatistics, FrechetFloor
from eval.metrics import bootstrap_mean, derangement, per_class_accuracy
from eval.retrieval import Retrieval, measure_retrieval
from eval.scores import inception_score, inception_score_of_all
from eval.tables import notes_of, rows_of

if TYPE_CHECKING:
    from eval.classifier import Classification, SceneClassifier
    from eval.encoders import Encoder, PictureEncoder


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        n: Pictures judged.
        seed: Seed of bootstrap, shuffling and splits.
        scene: Recognition of the class.
        alignment: Agreement with the text.
        frechet: Distance to real pictures on features of the classifier, where reference pictures were given.
        diversity: On embeddings of the encoder and on features of the classifier; empty for a single picture.
        retrieval: Texts among pictures and pictures among texts, by the encoder; None for a single picture.
        inception: Inception score on the classifier's probabilities.
        kid: Kernel distance to real pictures on features of the classifier.
        cmmd: The same on embeddings of the encoder.
        coverage: Precision, recall, density and coverage on features of the classifier.
        further: Distances on the features of further networks, in the order in which they were given.
        missing: What could not be measured, and why.
    """

    n: int
    seed: int
    scene: SceneFigures
    alignment: AlignmentFigures
    frechet: FrechetFigures | None
    diversity: tuple[DiversityFigures, ...] = ()
    retrieval: RetrievalFigures | None = None
    inception: InceptionFigures | None = None
    kid: KernelFigures | None = None
    cmmd: CmmdFigures | None = None
    coverage: CoverageFigures | None = None
    further: tuple[Distances, ...] = ()
    missing: tuple[NotMeasured, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Nested plain data, ready for `json.dump`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The figures for people, a line each; what was not measured comes last, with the reason."""
        return [row.line() for row in rows_of(self)]

    def table(self) -> str:
        """The same as a Markdown table, a row each."""
        head = "| metric | value | 95 % interval | null | real pictures | at equal n | n | network |"
        rows = rows_of(self)
        seed = f"Seed {self.seed}. \"Real pictures\" is the ceiling or floor: the same figure of real pictures; " \
               "\"at equal n\" are these pictures in samples as large."
        return "\n".join([head, "|---" * 8 + "|", *(row.markdown() for row in rows), "", seed, "",
                          *notes_of(rows)])


def evaluate(
    images: NDArray[np.uint8], texts: Sequence[str], labels: Sequence[str], *, encoder: Encoder,
    classifier: SceneClassifier, reference_images: NDArray[np.uint8] | None = None,
    reference_texts: Sequence[str] | None = None, reference_labels: Sequence[str] | None = None,
    reference_statistics: FeatureStatistics | None = None, reference_floor: FrechetFloor | None = None,
    picture_encoders: Sequence[PictureEncoder] = (), seed: int = 0,
) -> Evaluation:
    """Measure recognition, alignment, diversity and distance to real pictures.

    The encoder should be another one than the one that filtered the pictures; so should the reference be of pictures
    that neither the generator nor the evaluators were trained on. Each network sees each picture once. The same
    arguments give the same figures. The order of the pictures has a part in what is drawn (intervals, nulls, floors,
    extrapolation), in no other figure.

    Args:
        images: `uint8` (N, H, W, 3).
        texts: The text of each picture.
        labels: The class of each picture, as the classifier names them.
        encoder: Gives alignment, retrieval and CMMD.
        classifier: Gives recognition, inception score, and the features of Frechet distance, KID and coverage.
        reference_images: Real pictures `uint8` (M, H, W, 3), M >= 4; without them there are no distances.
        reference_texts: A caption of each, for the ceilings of alignment and retrieval.
        reference_labels: The class of each, for the ceiling of the recognition.
        reference_statistics: In place of reference pictures: statistics of the classifier's features of such, which
            give a Frechet distance alone. That they are of this classifier is for the caller to check.
        reference_floor: Real against real, as it was measured when those statistics were.
        picture_encoders: Further networks for Frechet distance, KID and coverage.
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
        if reference_statistics is not None:
            raise InputError("reference_images and reference_statistics: give the pictures alone, they say more")
    elif reference_texts is not None or reference_labels is not None:
        raise InputError("reference texts or labels without reference_images: give the pictures too")
    if reference_statistics is not None and len(images) < 2:
        raise InputError("1 picture against reference statistics: a Frechet distance needs 2 pictures at the least")
    judged = classifier.classify(images)
    embeddings = encoder.encode_images(images)
    real_embeddings = None if reference_images is None else encoder.encode_images(reference_images)
    real = None if reference_images is None else classifier.classify(reference_images)
    sentences = encoder.encode_texts(texts)
    real_sentences = None if reference_texts is None else encoder.encode_texts(reference_texts)
    distances = compare(judged.features, reference_statistics if real is None else real.features,
                        classifier.identity(), seed, reference_floor)
    further = tuple(
        compare(network.features(images), None if reference_images is None else network.features(reference_images),
                network.identity(), seed)
        for network in picture_encoders
    )
    missing = distances.missing + tuple(entry for each in further for entry in each.missing)
    cmmd = None
    if real_embeddings is None:
        reason = NO_REFERENCE if reference_statistics is None else ONLY_STATISTICS
        missing += (NotMeasured("CMMD", reason, encoder.identity()),)
    else:
        cmmd = compare_embeddings(embeddings, real_embeddings, encoder.identity(), seed)
    retrieval: RetrievalFigures | None = None
    diversity: tuple[DiversityFigures, ...] = ()
    if len(images) > 1:
        retrieval = _retrieval(encoder, embeddings, texts, sentences, real_embeddings, reference_texts, real_sentences,
                               seed)
        diversity = (
            _diversity(embeddings, labels, real_embeddings, reference_labels, encoder.identity(), seed),
            _diversity(judged.features, labels, None if real is None else real.features, reference_labels,
                       classifier.identity(), seed),
        )
    else:
        alone = "a single picture"
        missing += tuple(NotMeasured(metric, alone, network.identity()) for metric, network in (
            ("retrieval", encoder), ("Vendi score", encoder), ("Vendi score", classifier)))
    return Evaluation(
        len(images), seed, _scene(classifier, judged, labels, real, reference_labels, seed),
        _alignment(encoder, embeddings, sentences, labels, real_embeddings, real_sentences, seed), distances.frechet,
        diversity, retrieval, _inception(classifier, judged, real, seed), distances.kid, cmmd, distances.coverage,
        further, missing,
    )


def _scene(
    classifier: SceneClassifier, judged: Classification, labels: Sequence[str], real: Classification | None,
    real_labels: Sequence[str] | None, seed: int,
) -> SceneFigures:
    hits = _hits(judged.probabilities, labels, classifier.labels)
    ceiling = None
    if real is not None and real_labels is not None:
        ceiling = bootstrap_mean(_hits(real.probabilities, real_labels, classifier.labels), seed)
    return SceneFigures(
        bootstrap_mean(hits, seed), per_class_accuracy(hits, labels), 1 / len(classifier.labels), ceiling,
        classifier.identity(),
    )


def _inception(
    classifier: SceneClassifier, judged: Classification, real: Classification | None, seed: int
) -> InceptionFigures:
    equal = None
    if real is not None:
        equal = as_many_real(
            lambda values: {"score": inception_score_of_all(values)}, judged.probabilities, real.probabilities, seed
        )["score"]
    return InceptionFigures(
        inception_score(judged.probabilities, seed), len(classifier.labels), equal, classifier.identity()
    )


def _alignment(
    encoder: Encoder, pictures: NDArray[np.float32], sentences: NDArray[np.float32], labels: Sequence[str],
    reference: NDArray[np.float32] | None, reference_sentences: NDArray[np.float32] | None, seed: int,
) -> AlignmentFigures:
    null, null_kind = None, "none: a single picture"
    if (pairing := derangement(labels, seed)) is not None:
        partner, null_kind = pairing
        null = bootstrap_mean(np.einsum("nd,nd->n", pictures, sentences[partner]), seed)
    ceiling = None
    if reference is not None and reference_sentences is not None:
        ceiling = bootstrap_mean(np.einsum("nd,nd->n", reference, reference_sentences), seed)
    score = bootstrap_mean(np.einsum("nd,nd->n", pictures, sentences), seed)
    return AlignmentFigures(score, null, null_kind, ceiling, encoder.identity())


def _retrieval(
    encoder: Encoder, pictures: NDArray[np.float32], texts: Sequence[str], sentences: NDArray[np.float32],
    reference: NDArray[np.float32] | None, reference_texts: Sequence[str] | None,
    reference_sentences: NDArray[np.float32] | None, seed: int,
) -> RetrievalFigures:
    ceiling, n_real = None, 0
    if reference is not None and reference_texts is not None and reference_sentences is not None:
        chosen = _sample(len(reference), len(pictures), seed)
        own = [reference_texts[number] for number in chosen]
        ceiling, n_real = _of_pairs(reference[chosen], own, reference_sentences[chosen], seed), len(chosen)
    return RetrievalFigures(_of_pairs(pictures, texts, sentences, seed), ceiling, n_real, encoder.identity())


def _of_pairs(
    pictures: NDArray[np.float32], texts: Sequence[str], sentences: NDArray[np.float32], seed: int
) -> Retrieval:
    first = {text: number for number, text in reversed(list(enumerate(texts)))}
    return measure_retrieval(
        pictures, [[text] for text in texts], list(first), sentences[list(first.values())], seed
    )


def _sample(n: int, most: int, seed: int) -> NDArray[np.intp]:
    """Rows of a random sample in their order, or all where there are no more than wanted."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:most])


def _diversity(
    features: NDArray[np.float32], labels: Sequence[str], real: NDArray[np.float32] | None,
    real_labels: Sequence[str] | None, network: Mapping[str, object], seed: int,
) -> DiversityFigures:
    real_vendi, real_distance, real_within, n_real = None, None, None, 0
    if real is not None:
        chosen = _sample(len(real), len(features), seed)
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
