"""Does an image find its text among all texts, and a text its image among all images?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.figure import Figure, bootstrap_mean

RANKS = (1, 5, 10)
BLOCK = 1024
TIE = 1e-6
"""Cosines that are closer than this are a tie: so far the order in which a product is summed may move them."""


@dataclass(frozen=True)
class Recall:
    """Share of the queries with a right answer among the first k.

    Attributes:
        k: How many answers are looked at.
        recall: The share, with its interval over the queries; the candidates stay as they are. Texts that are equal
            are drawn anew together, and so are images with the same texts.
        chance: What a random order of the candidates would reach on average.
    """

    k: int
    recall: Figure
    chance: float


@dataclass(frozen=True)
class Retrieval:
    """R@k both ways.

    Attributes:
        image_to_text: Images as queries, the distinct texts as candidates.
        text_to_image: Texts as queries, one for each image that has it, images as candidates.
        n_texts: Distinct texts.
    """

    image_to_text: tuple[Recall, ...]
    text_to_image: tuple[Recall, ...]
    n_images: int
    n_texts: int
    seed: int


def measure_retrieval(
    images: NDArray[np.floating], captions: Sequence[Sequence[str]], texts: Sequence[str],
    text_embeddings: NDArray[np.floating], seed: int, ranks: Sequence[int] = RANKS,
) -> Retrieval:
    """R@k of images among texts and of texts among images.

    Every text that is equal to one of an image's own is right for that image, whoever's it was; equal texts are one
    candidate. A wrong candidate at the same cosine as the right one counts as ahead of it. So a set in which all
    images or all texts are alike scores 0, not 1. Protocols that take a text of another image for wrong although
    it is the same sentence give lower figures; those whose equal texts each take a place of their own, others again.

    Args:
        images: L2-normalized embeddings (N, D), N >= 1.
        captions: The texts of each image, at least one.
        texts: The distinct ones among them, in any order.
        text_embeddings: L2-normalized (T, D), one for each of `texts`.
        ranks: The k to look at, ascending. One that is not below the number of candidates is left out: any order
            reaches it.

    Raises:
        ValueError: Numbers that do not match, an image without text, or a text that is not in `texts`.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import measure_retrieval
        >>> texts = ["a beach", "a forest", "a river"]
        >>> found = measure_retrieval(np.eye(3), [[text] for text in texts], texts, np.eye(3), seed=0, ranks=(1,))
        >>> first = found.image_to_text[0]
        >>> first.k, first.recall.value, round(first.chance, 3)
        (1, 1.0, 0.333)
    """
    number = {text: row for row, text in enumerate(texts)}
    if len(captions) != len(images) or not len(images) or not all(captions):
        raise ValueError(f"{len(images)} images and captions for {len(captions)}: give each image one at the least")
    if len(number) != len(texts) or len(texts) != len(text_embeddings):
        raise ValueError(f"{len(texts)} texts, {len(number)} of them distinct, {len(text_embeddings)} embeddings: "
                         "give every text once, with its embedding")
    if unknown := next((text for own in captions for text in own if text not in number), None):
        raise ValueError(f"caption {unknown!r} is not among the texts; embed all captions")
    rows = np.concatenate([np.full(len(set(own)), picture) for picture, own in enumerate(captions)])
    columns = np.array([number[text] for own in captions for text in dict.fromkeys(own)])
    right = np.zeros((len(images), len(texts)), np.bool_)
    right[rows, columns] = True
    image_ranks = _ranks(images, text_embeddings, right)
    # Equal texts are equal queries: each of their images asks once, and all of them are right or wrong together.
    asked = np.repeat(np.arange(len(texts)), right.sum(0))
    text_ranks, text_right = _ranks(text_embeddings, images, right.T)[asked], right.sum(0)[asked]
    alike = [frozenset(own) for own in captions]
    return Retrieval(
        tuple(_recall(image_ranks, right.sum(1), alike, len(texts), k, seed) for k in ranks if k < len(texts)),
        tuple(_recall(text_ranks, text_right, asked.tolist(), len(images), k, seed) for k in ranks if k < len(images)),
        len(images), len(texts), seed,
    )


def _ranks(
    queries: NDArray[np.floating], candidates: NDArray[np.floating], right: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Place of the best right candidate of each query, from 1, behind all wrong ones that score as high."""
    ranks = np.empty(len(queries), np.int64)
    others = candidates.astype(np.float64)
    for start in range(0, len(queries), BLOCK):
        rows = slice(start, start + BLOCK)
        cosine = queries[rows].astype(np.float64) @ others.T
        best = np.where(right[rows], cosine, -np.inf).max(1, keepdims=True)
        ranks[rows] = 1 + ((cosine >= best - TIE) & ~right[rows]).sum(1)
    return ranks


def _recall(
    ranks: NDArray[np.int64], right: NDArray[np.int64], alike: Sequence[Hashable], candidates: int, k: int, seed: int
) -> Recall:
    share = bootstrap_mean(ranks <= k, seed, groups=alike)
    return Recall(k, share, float(np.mean(_chance(right, candidates, k))))


def _chance(right: NDArray[np.int64], candidates: int, k: int) -> NDArray[np.float64]:
    """1 - C(candidates - right, k) / C(candidates, k): that k random candidates hold a right one."""
    missed = np.ones(len(right))
    for drawn in range(k):
        missed *= np.clip(candidates - right - drawn, 0, None) / (candidates - drawn)
    return 1 - missed
