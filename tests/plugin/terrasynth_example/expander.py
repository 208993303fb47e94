"""The `seasons` expander: every class in each season."""

from __future__ import annotations

from collections.abc import Sequence

from terrasynth.prompts.types import Prompt, check_request

SEASONS = ("spring", "summer", "autumn", "winter")


class SeasonsExpander:
    """Attempt k of a class is drawn in season k modulo 4; the seed says where the year begins.

    Attributes:
        name: What a recipe calls it.
        classes: The labels it serves.
    """

    name = "seasons"

    def __init__(self, classes: Sequence[str] = ("beach", "river")) -> None:
        """Args are the options of a recipe: `prompts: {expander: seasons, classes: [harbor]}`."""
        self.classes = tuple(classes)

    def identity(self) -> dict[str, object]:
        """Everything that decides the prompts: raise `revision` whenever the words change."""
        return {"expander": self.name, "revision": 1}

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """Prompts of attempts `start` to `start + count - 1`; each depends on label, seed and its number alone."""
        check_request(self, label, start, count)
        texts = [f"a {label} in {SEASONS[(seed + k) % len(SEASONS)]}" for k in range(start, start + count)]
        return [Prompt(text, label, (text,), self.name) for text in texts]
