"""What generators are asked to draw when they are measured: the same texts for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terrasynth.training.data import Pair, PairSet

PER_CLASS = 10
DRAW_SEED = 0


@dataclass(frozen=True)
class Prompts:
    """What the generators are asked to draw: N texts, their classes, and where they come from."""

    texts: list[str]
    labels: list[str]
    source: str

    @classmethod
    def of(cls, pairs: PairSet, per_class: int = PER_CLASS, start: int = 0) -> Prompts:
        """Prompts of the grammar where it serves the classes, else first captions of `train`.

        Args:
            pairs: The data, whose classes are asked for.
            per_class: Prompts of each class; fewer where the captions are fewer.
            start: First attempt of the grammar.
        """
        from terrasynth.prompts import load_expander

        grammar = load_expander("grammar")
        if set(pairs.labels) <= set(grammar.classes):
            prompts = [p for label in pairs.labels for p in grammar.expand(label, DRAW_SEED, start, per_class)]
            return cls([p.text for p in prompts], [p.label for p in prompts], f"prompts of `grammar`, seed {DRAW_SEED}")
        by_class: dict[str, list[Pair]] = {}
        for pair in pairs.split("train"):
            by_class.setdefault(pair.label, []).append(pair)
        chosen = [pair for label in sorted(by_class) for pair in by_class[label][:per_class]]
        return cls([pair.captions[0] for pair in chosen], [pair.label for pair in chosen], "first captions of `train`")
