"""Captions against what people said of the same image: BLEU, ROUGE-L and CIDEr-D, as the COCO evaluation has them.

Words are what is left of a text in lower case without punctuation. The COCO tools split texts by the rules of the Penn
Treebank, which for plain captions gives the same words (`tests/eval/metrics/test_captions.py` and
`tests/benchmarks/caption_figures.py` compare).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.models.caption_words import caption_words

ORDERS = 4
"""Longest run of words that BLEU and CIDEr look at."""
ROUGE_BETA = 1.2
CIDER_SIGMA = 6.0
_TINY, _SMALL = 1e-15, 1e-9  # of the COCO tools: no logarithm of nothing, and no division by it
Grams = Counter[tuple[str, ...]]


@dataclass(frozen=True)
class CaptionScores:
    """How near captions are to those of people.

    Attributes:
        bleu: Of a whole set, BLEU-1 to BLEU-4, 0 to 1.
        rouge_l: `float64` (N,), of each caption, 0 to 1.
        cider: `float64` (N,), of each caption, 0 to 10.
    """

    bleu: tuple[float, float, float, float]
    rouge_l: NDArray[np.float64]
    cider: NDArray[np.float64]


def score_captions(said: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Score one caption of each image against what people said of it.

    Args:
        said: N captions.
        references: Of each image at least one text. One that is there twice counts twice, for CIDEr only.

    Raises:
        ValueError: The numbers differ, there is no image, or one of them has no reference.

    Example:
        >>> from terrasynth.eval.metrics.captions import score_captions
        >>> texts = ["two boats lie in a harbor", "a road leads through a dense forest"]
        >>> scores = score_captions(texts, [[text] for text in texts])
        >>> scores.bleu[3], scores.cider.round(6).tolist()
        (1.0, [10.0, 10.0])
    """
    if len(said) != len(references):
        raise ValueError(f"{len(said)} captions for {len(references)} images; give one for each")
    if not said or not all(references):
        raise ValueError("an image without a reference cannot be scored" if said else "no caption is given")
    own = [caption_words(text) for text in said]
    theirs = [[caption_words(text) for text in texts] for texts in references]
    rouge = np.array([_rouge(words, of) for words, of in zip(own, theirs, strict=True)])
    return CaptionScores(bleu(own, theirs), rouge, cider(own, theirs))


def _grams(words: Sequence[str], order: int) -> Grams:
    return Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))


def bleu(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
         ) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4 of a whole set (Papineni et al., ACL 2002), the reference of the nearest length counting.

    Args:
        said: Words of N captions.
        references: Of each image, words of its texts.
    """
    right, all_of = np.zeros(ORDERS), np.zeros(ORDERS)
    length = expected = 0
    for words, texts in zip(said, references, strict=True):
        length += len(words)
        expected += min((abs(len(text) - len(words)), len(text)) for text in texts)[1]
        for order in range(1, ORDERS + 1):
            most: Grams = Counter()
            for text in texts:
                most |= _grams(text, order)
            found = _grams(words, order)
            right[order - 1] += sum((found & most).values())
            all_of[order - 1] += max(0, len(words) - order + 1)
    shares = (right + _TINY) / (all_of + _SMALL)
    ratio = (length + _TINY) / (expected + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    made = [float(brevity * np.prod(shares[:order]) ** (1 / order)) for order in range(1, ORDERS + 1)]
    rounded = [round(value, 8) for value in made]  # what the constants above cost is no part of a figure
    return rounded[0], rounded[1], rounded[2], rounded[3]


def _rouge(words: Sequence[str], texts: Sequence[Sequence[str]]) -> float:
    """ROUGE-L (Lin, 2004): best precision and best recall of the longest common subsequence, recall weighing more."""
    if not words:
        return 0.0
    common = [_common(words, text) for text in texts]
    precision = max(same / len(words) for same in common)
    recall = max(same / len(text) if text else 0.0 for same, text in zip(common, texts, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for at, against in enumerate(other, 1):
            before, row[at] = row[at], before + 1 if word == against else max(row[at], row[at - 1])
    return row[-1]


class Frequencies:
    """In how many images' texts each run of words is: what makes a word that is said everywhere count little.

    Args:
        references: Of each image, words of its texts.
    """

    def __init__(self, references: Iterable[Sequence[Sequence[str]]]) -> None:
        self.images = 0
        self._of: Counter[tuple[str, ...]] = Counter()
        for texts in references:
            self.images += 1
            self._of.update({gram for text in texts for order in range(1, ORDERS + 1) for gram in _grams(text, order)})

    def weights(self, words: Sequence[str]) -> tuple[list[dict[tuple[str, ...], float]], list[float]]:
        """TF-IDF of the runs of each length in a text, and the length of each of these vectors."""
        known = math.log(self.images) if self.images else 0.0
        vectors = [{gram: count * (known - math.log(max(1.0, self._of[gram])))
                    for gram, count in _grams(words, order).items()} for order in range(1, ORDERS + 1)]
        return vectors, [math.sqrt(sum(value * value for value in vector.values())) for vector in vectors]


def cider(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]],
          frequencies: Frequencies | None = None) -> NDArray[np.float64]:
    """CIDEr-D of each caption (Vedantam et al., CVPR 2015, eq. 3), 0 to 10, as the COCO tools compute "CIDEr".

    Lengths are told apart by the number of word pairs, and of n-gram weights the smaller one counts, as they do.

    Args:
        said: Words of N captions.
        references: Of each image, words of its texts.
        frequencies: Of a corpus; None for the references themselves.

    Returns:
        `float64` (N,).
    """
    corpus = frequencies or Frequencies(references)
    found = []
    for words, texts in zip(said, references, strict=True):
        own, norms = corpus.weights(words)
        total = 0.0
        for text, count in Counter(tuple(text) for text in texts).items():
            theirs, others = corpus.weights(text)
            apart = max(0, len(words) - 1) - max(0, len(text) - 1)
            near = math.exp(-(apart**2) / (2 * CIDER_SIGMA**2))
            for mine, of, long, length in zip(own, theirs, norms, others, strict=True):
                if long and length:
                    shared = sum(min(value, of[gram]) * of[gram] for gram, value in mine.items() if gram in of)
                    total += count * near * shared / (long * length)
        found.append(10 * total / ORDERS / len(texts))
    return np.array(found)
