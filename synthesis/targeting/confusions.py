"""What a model took the images of each class for, as counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from terrasynth.eval.metrics.figure import Figure, share
from terrasynth.prompts.scenes.wording import place_of
from terrasynth.synthesis.core.errors import InputError


@dataclass(frozen=True)
class Confusions:
    """A confusion matrix by names.

    Attributes:
        counts: Class of the images -> what they were taken for -> images, each above 0.
    """

    counts: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Confusions:
        """Count pairs of a true class and what was predicted.

        Example:
            >>> from terrasynth.synthesis.targeting.confusions import Confusions
            >>> found = Confusions.of([("river", "road"), ("river", "river"), ("road", "road")])
            >>> found.n("river"), found.missed("river"), found.rivals("river")
            (2, 1, [('road', 1)])
        """
        counts: dict[str, Counter[str]] = {}
        for truth, seen in pairs:
            counts.setdefault(truth, Counter())[seen] += 1
        return cls(counts)

    @property
    def total(self) -> int:
        """Images in all."""
        return sum(map(self.n, self.counts))

    def n(self, label: str) -> int:
        """Images of a class."""
        return sum(self.counts.get(label, {}).values())

    def missed(self, label: str) -> int:
        """Images of a class that were taken for another."""
        return self.n(label) - self.counts.get(label, {}).get(label, 0)

    def recall(self, label: str) -> Figure | None:
        """The share of a class that was recognized, with its 95 % interval (Wilson); None without an image."""
        n = self.n(label)
        return share(n - self.missed(label), n) if n else None

    def rivals(self, label: str) -> list[tuple[str, int]]:
        """What images of a class were taken for instead, the most frequent first, then in name order."""
        found = [(seen, count) for seen, count in self.counts.get(label, {}).items() if seen != label]
        return sorted(found, key=lambda each: (-each[1], each[0]))

    def named(self, labels: Sequence[str]) -> tuple[Confusions, tuple[str, ...]]:
        """The same in the words of a recipe, and the classes of the images that it does not have.

        Two classes of the images that a recipe has as one are counted together.

        Args:
            labels: The classes of the recipe; a class may be spelled otherwise, or go by a synonym.

        Raises:
            InputError: The images have none of them, or their class is never predicted by its name.
        """
        known = {name: place_of(name, labels) for name in {*self.counts, *(seen for row in self.counts.values()
                                                                           for seen in row)}}
        names = {name: name if place is None else labels[place] for name, place in known.items()}
        left = tuple(sorted(truth for truth in self.counts if known[truth] is None))
        if len(left) == len(self.counts):
            raise InputError(f"none of the images has a class of the recipe: they have {_some(sorted(self.counts))}, "
                             f"and it has {_some(labels)}; give the recipe of these classes (--recipe)")
        said = {seen for row in self.counts.values() for seen in row}
        if all(known[seen] is None for seen in said):
            raise InputError(f"no prediction is a class of the recipe: they are {_some(sorted(said))}, and it has "
                             f"{_some(labels)}; give the names of the predicted classes in order (--labels)")
        counts: dict[str, Counter[str]] = {}
        for truth, row in self.counts.items():
            if truth not in left:
                for seen, count in row.items():
                    counts.setdefault(names[truth], Counter())[names[seen]] += count
        return Confusions(counts), left


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
