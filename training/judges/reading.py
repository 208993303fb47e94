"""Images of own classes: what is fitted to, what is held out, and a text for images that nobody described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from terrasynth.prompts.scenes.wording import spoken_name
from terrasynth.training.data import Pair, PairSet, read_pairs
from terrasynth.training.errors import InputError

if TYPE_CHECKING:
    from terrasynth.training.data.reading import DataSource

TEMPLATE = "an aerial image of {name}"


def read_classes(data: DataSource | Sequence[DataSource]) -> PairSet:
    """Images with their classes; one that nothing describes is called by the name of its class.

    Args:
        data: As `read_pairs` takes it, with captions or without.

    Raises:
        InputError: It cannot be read.
    """
    found = read_pairs(data, captionless=True, drafts=True)
    found.pairs = [pair if pair.captions else replace(pair, captions=(TEMPLATE.format(name=spoken_name(pair.label)),))
                   for pair in found.pairs]
    return found


@dataclass(frozen=True)
class Described:
    """Who said what the images show.

    Attributes:
        images: All that a judge is fitted to, and all that are held out.
        named: Those that no caption describes: their texts are made of the name of their class.
        drawn: Those of them that have texts drawn from an ontology, too.
    """

    images: int
    named: int
    drawn: int


@dataclass(frozen=True)
class Parts:
    """What a judge is fitted to, and what is held out.

    Attributes:
        labels: The classes, sorted.
        train: Images to fit to.
        held_out: Images on which figures are measured, and which give `pass_real` its scale.
        split: Where these came from, in words.
    """

    labels: tuple[str, ...]
    train: list[Pair]
    held_out: list[Pair]
    split: str

    @property
    def described(self) -> Described:
        """Who said what these images show."""
        own = [*self.train, *self.held_out]
        bare = [pair for pair in own if not pair.described]
        return Described(len(own), len(bare), sum(len(pair.captions) > 1 for pair in bare))


def divide(pairs: PairSet, share: float, seed: int) -> Parts:
    """Take the splits of the data; where there is only `train`, hold out a seeded share of each class.

    Raises:
        InputError: Fewer than two classes, or a class with fewer than two images to fit to.
    """
    if len(pairs.labels) < 2:
        what = f"one class, {pairs.labels[0]!r}" if pairs.labels else "no class"
        raise InputError(f"a judge tells classes apart, and the data names {what}; give two at the least, a folder of "
                         "images each or a class in each row")
    kept = pairs.with_class().pairs
    train = [pair for pair in kept if pair.split == "train"]
    held = {name: [pair for pair in kept if pair.split == name] for name in ("val", "test")}
    if not any(held.values()):
        rest = _sample(train, share, seed)
        train = [pair for pair in train if pair.name not in rest]
        held = {f"{share:g} of each class, drawn with seed {seed}": [pair for pair in kept if pair.name in rest]}
    counts = {label: sum(pair.label == label for pair in train) for label in pairs.labels}
    labels = tuple(label for label, count in counts.items() if count)
    few = [label for label in labels if counts[label] < 2]
    if few or len(labels) < 2:
        what = f"class {few[0]!r} has one image" if few else f"only {len(labels)} classes have images"
        raise InputError(f"{what} to fit a judge to (split train); give at least two images of each of two classes")
    named = {name: [pair for pair in own if pair.label in labels] for name, own in held.items()}
    named = {name: own for name, own in named.items() if own}
    if not named:
        raise InputError("nothing is held out, so that nothing could be said of the judge; give the data a split val "
                         "with images of the classes of train, or more images a class")
    return Parts(labels, train, [pair for own in named.values() for pair in own], " and ".join(named))


def _sample(train: Sequence[Pair], share: float, seed: int) -> set[str]:
    """Names of a share of each class, rounded, at least one; of a class of fewer than three images none."""
    generator = np.random.default_rng(seed)
    found: set[str] = set()
    for label in sorted({pair.label for pair in train}):
        own = sorted(pair.name for pair in train if pair.label == label)
        count = min(max(1, round(share * len(own))), len(own) - 2)
        found |= {own[row] for row in generator.permutation(len(own))[:max(0, count)]}
    return found
