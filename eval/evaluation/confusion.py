"""Which class is taken for which: the confusion matrix of a scene classifier, and its accuracy class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terrasynth.eval.evaluation.figures import Network
from terrasynth.eval.evaluation.judged import Judged
from terrasynth.eval.metrics.figure import Figure, share


@dataclass(frozen=True)
class Mistake:
    """Images of one class that are taken for another.

    Attributes:
        asked: Their class.
        seen: What they are taken for.
        n: Images of their class.
    """

    asked: str
    seen: str
    count: int
    n: int


@dataclass(frozen=True)
class Confusion:
    """How often images of one class are taken for another.

    Attributes:
        asked: R classes that the images have, in the classifier's order.
        seen: All C classes of the classifier.
        counts: R rows of C numbers of images.
        network: Identity of the classifier.
    """

    asked: tuple[str, ...]
    seen: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    network: Network

    @property
    def n(self) -> int:
        """Images in all."""
        return sum(map(sum, self.counts))

    def mistakes(self, most: int) -> list[Mistake]:
        """The most frequent mistakes, by their number."""
        found = [
            Mistake(asked, seen, count, sum(row))
            for asked, row in zip(self.asked, self.counts, strict=True)
            for seen, count in zip(self.seen, row, strict=True)
            if count and seen != asked
        ]
        return sorted(found, key=lambda each: (-each.count, each.asked, each.seen))[:most]

    def count(self, asked: str, seen: str) -> tuple[int, int] | None:
        """How many of a class are taken for another, and of how many; None where there are none of the class."""
        if asked not in self.asked or seen not in self.seen:
            return None
        row = self.counts[self.asked.index(asked)]
        return row[self.seen.index(seen)], sum(row)

    def accuracy(self) -> dict[str, Figure]:
        """Class -> share that is recognized, with its 95 % interval."""
        return {
            asked: share(row[self.seen.index(asked)], sum(row))
            for asked, row in zip(self.asked, self.counts, strict=True)
        }


def confusion(judged: Judged) -> Confusion:
    """Count what the classifier takes each image for.

    Raises:
        ValueError: Images without labels.
    """
    size = len(judged.known)
    table = np.bincount(judged.places * size + judged.probabilities.argmax(1), minlength=size * size)
    counts = table.reshape(size, size)
    there = np.flatnonzero(counts.sum(1))
    return Confusion(
        tuple(judged.known[row] for row in there), judged.known,
        tuple(tuple(int(count) for count in counts[row]) for row in there), judged.classifier,
    )
