"""Judge a set of images with their texts and classes: every figure beside its null and its ceiling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.evaluation.distances import NO_REFERENCE, ONLY_STATISTICS, compare, compare_embeddings
from terrasynth.eval.evaluation.figures import (
    AlignmentFigures,
    DiversityFigures,
    InceptionFigures,
    Network,
    NotMeasured,
    RetrievalFigures,
    SceneFigures,
)
from terrasynth.eval.evaluation.judged import Judged, check_pictures, judge
from terrasynth.eval.evaluation.realism import CodedImages, RealismFigures, realism_figures
from terrasynth.eval.evaluation.record import Evaluation
from terrasynth.eval.images import as_images
from terrasynth.eval.metrics.diversity import mean_distance_within, mean_pairwise_distance, vendi_score
from terrasynth.eval.metrics.figure import COSINE, bootstrap_mean, derangement, per_class_accuracy, share_of
from terrasynth.eval.metrics.floors import as_many_real
from terrasynth.eval.metrics.frechet import FeatureStatistics, FrechetFloor
from terrasynth.eval.metrics.inception_score import inception_score, inception_score_of_all
from terrasynth.eval.metrics.retrieval import Retrieval, measure_retrieval

if TYPE_CHECKING:
    from PIL import Image

    from terrasynth.eval.models.classifiers import SceneClassifier
    from terrasynth.eval.models.dual_encoders import Encoder, PictureEncoder

    Images: TypeAlias = NDArray[np.uint8] | Iterable[Image.Image | NDArray[np.uint8]]


def evaluate(
    images: Images, texts: Sequence[str], labels: Sequence[str], *, encoder: Encoder,
    classifier: SceneClassifier, reference_images: Images | None = None,
    reference_texts: Sequence[str] | None = None, reference_labels: Sequence[str] | None = None,
    reference_statistics: FeatureStatistics | None = None, reference_floor: FrechetFloor | None = None,
    picture_encoders: Sequence[PictureEncoder] = (), coded: CodedImages | None = None, seed: int = 0,
) -> Evaluation:
    """Measure recognition, alignment, diversity and distance to real images.

    The encoder should be another one than the one that filtered the images; so should the reference be of images
    that neither the generator nor the evaluators were trained on. Each network sees each image once. The same
    arguments give the same figures. The order of the images has a part in what is drawn (intervals, nulls, floors,
    extrapolation), in no other figure.

    Args:
        images: `uint8` (N, H, W, 3), or PIL images of one size, such as a column of `datasets`.
        texts: The text of each image.
        labels: The class of each image. Where the classifier does not know one, recognition and inception score are
            left out, with the reason among what is missing.
        encoder: Gives alignment, retrieval and CMMD.
        classifier: Gives recognition, inception score, and the features of Frechet distance, KID and coverage.
        reference_images: Real images in the same way, at least 4; without them there are no distances.
        reference_texts: A caption of each, for the ceilings of alignment and retrieval.
        reference_labels: The class of each, for the ceiling of the recognition.
        reference_statistics: In place of reference images: statistics of the classifier's features of such, which
            give a Frechet distance alone. That they are of this classifier is for the caller to check.
        reference_floor: Real against real, as it was measured when those statistics were.
        picture_encoders: Further networks for Frechet distance, KID and coverage.
        coded: The reference images, coded and decoded by the autoencoder of the generator.
        seed: Of bootstrap, shuffling and splits.

    Raises:
        InputError: Numbers that do not match, or too few images.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import evaluate, load_classifier, load_encoder
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        >>> encoder, classifier = load_encoder("clip-ucm-b"), load_classifier("scene-ucm")
        >>> found = evaluate(
        ...     images, ["a beach", "a forest"], ["beach", "forest"], encoder=encoder, classifier=classifier
        ... )
        >>> found.n, round(found.scene.chance, 3), found.frechet
        (2, 0.048, None)
    """
    images = as_images(images)
    reference_images = None if reference_images is None else as_images(reference_images)
    check_pictures("images", images, texts, labels)
    if reference_images is not None:
        check_pictures("reference images", reference_images, reference_texts, reference_labels)
        if len(images) < 2 or len(reference_images) < 4:
            raise InputError(f"{len(images)} images against {len(reference_images)} reference images: "
                             "a Frechet distance needs 2 and 4 at the least")
        if reference_statistics is not None:
            raise InputError("reference_images and reference_statistics: give the images alone, they say more")
    elif reference_texts is not None or reference_labels is not None:
        raise InputError("reference texts or labels without reference_images: give the images too")
    if reference_statistics is not None and len(images) < 2:
        raise InputError("1 image against reference statistics: a Frechet distance needs 2 images at the least")
    see = partial(judge, encoder=encoder, classifier=classifier, picture_encoders=picture_encoders)
    judged = see(images, texts, labels)
    real = None if reference_images is None else see(reference_images, reference_texts, reference_labels)
    realism = realism_figures(images, reference_images, coded, seed,
                              NO_REFERENCE if reference_statistics is None else ONLY_STATISTICS)
    return measure(judged, real, seed, reference_statistics, reference_floor, realism)


def measure(
    judged: Judged, real: Judged | None, seed: int, reference_statistics: FeatureStatistics | None = None,
    reference_floor: FrechetFloor | None = None, realism: RealismFigures | None = None,
) -> Evaluation:
    """The figures of `evaluate`, from what the networks said.

    Args:
        judged: The images, with texts and labels.
        real: Reference images, at least four; two judged images are needed then.
        seed: Of bootstrap, shuffling and splits.
        reference_statistics: As in `evaluate`.
        reference_floor: As in `evaluate`.
        realism: What texture and spectrum say, which no network sees; None where nobody looked.

    Raises:
        ValueError: Judged images without texts or labels.
    """
    distances = compare(judged.features, reference_statistics if real is None else real.features, judged.classifier,
                        seed, reference_floor)
    further = tuple(
        compare(features, None if real is None else real.further[place], judged.networks[place], seed)
        for place, features in enumerate(judged.further)
    )
    missing = distances.missing + tuple(entry for each in further for entry in each.missing)
    cmmd = None
    if real is None:
        reason = NO_REFERENCE if reference_statistics is None else ONLY_STATISTICS
        missing += (NotMeasured("CMMD", reason, judged.encoder),)
    else:
        cmmd = compare_embeddings(judged.embeddings, real.embeddings, judged.encoder, seed)
    texture = realism or RealismFigures()
    retrieval: RetrievalFigures | None = None
    diversity: tuple[DiversityFigures, ...] = ()
    if len(judged) > 1:
        retrieval = _retrieval(judged, real, seed)
        diversity = (
            _diversity(judged, real, lambda one: one.embeddings, judged.encoder, seed),
            _diversity(judged, real, lambda one: one.features, judged.classifier, seed),
        )
    else:
        missing += tuple(NotMeasured(metric, "a single image", network) for metric, network in (
            ("retrieval", judged.encoder), ("Vendi score", judged.encoder), ("Vendi score", judged.classifier)))
    scene, inception = None, None
    if judged.strangers:
        unknown = tuple(NotMeasured(metric, _stranger(judged), judged.classifier)
                        for metric in ("scene accuracy", "inception score"))
        missing = unknown + missing
    else:
        scene, inception = _scene(judged, real), _inception(judged, real, seed)
    return Evaluation(
        len(judged), seed, scene, _alignment(judged, real, seed), distances.frechet, diversity,
        retrieval, inception, distances.kid, cmmd, distances.coverage, further,
        missing + texture.missing, texture.generated, texture.coded,
    )


def _stranger(judged: Judged) -> str:
    first, *more = judged.strangers
    others = f" and {len(more)} more of the {len(set(judged.labels or ()))}" if more else ""
    return (f"the classifier does not know the class {first!r}{others}; `terrasynth train judge` makes one that does, "
            "from images of yours")


def _scene(judged: Judged, real: Judged | None) -> SceneFigures:
    ceiling = None if real is None or real.labels is None or real.strangers else share_of(real.hits)
    return SceneFigures(
        share_of(judged.hits), per_class_accuracy(judged.hits, judged.labels or ()),
        1 / len(judged.known), ceiling, judged.classifier,
    )


def _inception(judged: Judged, real: Judged | None, seed: int) -> InceptionFigures:
    equal = None
    if real is not None:
        equal = as_many_real(
            lambda values: {"score": inception_score_of_all(values)}, judged.probabilities, real.probabilities, seed
        )["score"]
    return InceptionFigures(inception_score(judged.probabilities, seed), len(judged.known), equal, judged.classifier)


def _alignment(judged: Judged, real: Judged | None, seed: int) -> AlignmentFigures:
    null, null_kind = None, "none: a single image"
    score = bootstrap_mean(judged.scores, seed, groups=judged.texts, bounds=COSINE)
    if judged.sentences is not None and (pairing := derangement(judged.labels or (), seed)) is not None:
        partner, null_kind = pairing
        others = None if judged.texts is None else [judged.texts[row] for row in partner]
        cosines = np.einsum("nd,nd->n", judged.embeddings, judged.sentences[partner])
        null = bootstrap_mean(cosines, seed, groups=others, bounds=COSINE)
    ceiling = None
    if real is not None and real.sentences is not None:
        ceiling = bootstrap_mean(real.scores, seed, groups=real.texts, bounds=COSINE)
    return AlignmentFigures(score, null, null_kind, ceiling, judged.encoder)


def _retrieval(judged: Judged, real: Judged | None, seed: int) -> RetrievalFigures:
    ceiling, n_real = None, 0
    if real is not None and real.texts is not None and real.sentences is not None:
        chosen = _sample(len(real), len(judged), seed)
        own = [real.texts[number] for number in chosen]
        ceiling, n_real = _of_pairs(real.embeddings[chosen], own, real.sentences[chosen], seed), len(chosen)
    if judged.texts is None or judged.sentences is None:
        raise ValueError("retrieval of images without texts: give texts")
    found = _of_pairs(judged.embeddings, judged.texts, judged.sentences, seed)
    return RetrievalFigures(found, ceiling, n_real, judged.encoder)


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
    judged: Judged, real: Judged | None, look: Callable[[Judged], NDArray[np.float32]], network: Network, seed: int
) -> DiversityFigures:
    features, labels = look(judged), judged.labels or ()
    real_vendi, real_distance, real_within, n_real = None, None, None, 0
    if real is not None:
        chosen = _sample(len(real), len(features), seed)
        others, n_real = look(real)[chosen], len(chosen)
        real_vendi, real_distance = vendi_score(others), mean_pairwise_distance(others)
        if real.labels is not None:
            real_within = _within(others, [real.labels[number] for number in chosen])
    return DiversityFigures(
        vendi_score(features), mean_pairwise_distance(features), _within(features, labels), len(features), real_vendi,
        real_distance, real_within, n_real, network,
    )


def _within(features: NDArray[np.float32], labels: Sequence[str]) -> float | None:
    return None if len(set(labels)) == len(labels) else mean_distance_within(features, labels)
