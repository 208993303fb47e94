"""One training of `eval downstream`: a network from random weights, chosen on `val`, tested on real images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.retrieval import TIE, measure_retrieval
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.studies.downstream.arms import SCENE as SCENE_TASK
from terrasynth.synthesis.studies.downstream.pools import Pool
from terrasynth.synthesis.studies.trainings import Budget, Trained
from terrasynth.training.errors import InputError
from terrasynth.training.studies.arrays import (
    CLIP,
    SCENE,
    Fit,
    picture_set,
    resized,
    trained_classifier,
    trained_encoder,
)

VALIDATIONS = 10
SMALLEST = 32
"""Pixels: in smaller images the last maps are single pixels, and there bfloat16 gradients of torch 2.13 on a CPU were
those of memory that nobody had written to: another one in each run, in one weight of 62."""
RANKS = (1, 5)
RECALL = "mean recall"


def train_cell(task: str, train: Pool, val: Pool, test: Pool, budget: Budget, seed: int, name: str) -> Trained:
    """Train and test once.

    Scene: the share of test images whose class is named. Retrieval: whether an image finds one of its captions
    among the first k of all distinct captions, and the mean over its captions of whether they find it; R@k is the mean
    of both ways, and the mean recall that of R@1 and R@5.

    Args:
        task: "scene" or "retrieval".
        budget: Steps, images a step, size.
        seed: Of weights, order, views.

    Raises:
        InputError: A class to learn that no test image has, or images that are too small.
    """
    if budget.size < SMALLEST:
        raise InputError(f"size {budget.size} px is too small for these networks; give --size {SMALLEST} or more")
    names = tuple(sorted(set(test.labels)))
    if unknown := sorted({*train.labels, *val.labels} - set(names)):
        raise InputError(f"class {unknown[0]!r} has no real test image; there are: {', '.join(names)}")
    splits = {
        split: picture_set(own.images, own.labels, names, budget.size, own.captions)
        for split, own in (("train", train), ("val", val))
    }
    fit = Fit(budget.size, budget.steps, budget.batch_size, seed, VALIDATIONS, name=name)
    images = resized(test.images, budget.size)
    with quiet():
        if task == SCENE_TASK:
            classifier, outcome = trained_classifier(splits, fit)
            chosen = np.array(classifier.labels)[classifier.probabilities(images).argmax(1)]
            scores = {"accuracy": (chosen == np.array(test.labels)).astype(float).tolist()}
            chance, preset = {"accuracy": 1 / len(names)}, SCENE
        else:
            encoder, outcome = trained_encoder(splits, fit)
            texts = list(dict.fromkeys(text for own in test.captions for text in own))
            scores, chance = recall_scores(
                encoder.encode_images(images), test.captions, texts, encoder.encode_texts(texts)
            )
            preset = CLIP
    return Trained(scores, chance, outcome.best_step, f"the network of preset {preset}, from random weights")


def recall_scores(
    images: NDArray[np.floating], captions: Sequence[Sequence[str]], texts: Sequence[str],
    embeddings: NDArray[np.floating],
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Recall of each image, and that of a random order; right and wrong are those of `eval.measure_retrieval`.

    Args:
        images: L2-normalized (N, D).
        captions: The texts of each image.
        texts: The distinct ones among them.
        embeddings: L2-normalized (T, D), one for each of `texts`.
    """
    place = {text: row for row, text in enumerate(texts)}
    right = np.zeros((len(images), len(texts)), np.bool_)
    for row, own in enumerate(captions):
        right[row, [place[text] for text in own]] = True
    cosine = images.astype(np.float64) @ embeddings.astype(np.float64).T
    to_text, to_image = _ranks(cosine, right), _ranks(cosine.T, right.T)
    scores = {
        f"R@{k}": ((to_text <= k) + (right * (to_image <= k)).sum(1) / right.sum(1)) / 2 for k in RANKS
    }
    scores = {RECALL: sum(scores.values()) / len(RANKS), **scores}
    known = measure_retrieval(images, captions, texts, embeddings, 0, RANKS)
    by_rank = {
        f"R@{k}": float(np.mean([one.chance for one in (*known.image_to_text, *known.text_to_image) if one.k == k]))
        for k in RANKS if k < min(len(images), len(texts))
    }
    chance = {RECALL: float(np.mean(list(by_rank.values()))), **by_rank} if len(by_rank) == len(RANKS) else {}
    return {name: values.tolist() for name, values in scores.items()}, chance


def _ranks(cosine: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Place of the best right candidate of each query, from 1, behind all wrong ones that score as high."""
    best = np.where(right, cosine, -np.inf).max(1, keepdims=True)
    return np.asarray(1 + ((cosine >= best - TIE) & ~right).sum(1))
