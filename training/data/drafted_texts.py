"""Texts for trainings of images that nobody described: drawn from an ontology, true of a class and not of an image."""

from __future__ import annotations

from collections import Counter
from itertools import cycle, islice
from pathlib import Path

from terrasynth.prompts.registry import load_expander
from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.wording import find_label

TEXTS = 8
"""Of each image."""

POOL = 512
"""Texts of a class that its images share."""


class Drafts:
    """Texts of classes, the first texts that the expander `grammar` gives for them.

    Args:
        ontology: A YAML file (docs/own-classes.md), or the name of a profile of the grammar.

    Attributes:
        name: What the ontology is called, without its folder.

    Raises:
        InputError: The file is no ontology.
    """

    def __init__(self, ontology: Path | str) -> None:
        self.name = Path(ontology).name
        named = {"ontology": str(ontology)} if isinstance(ontology, Path) else {"profile": ontology}
        self._expander = load_expander("grammar", **named)
        self._known: dict[str, tuple[str, ...]] = {}
        self._given: Counter[str] = Counter()

    def of(self, label: str) -> tuple[str, ...]:
        """The next texts of a class, each once; none where the ontology has no such class."""
        texts = self._texts(label)
        start = self._given[label] * TEXTS % len(texts) if texts else 0
        self._given[label] += 1
        return tuple(dict.fromkeys(islice(cycle(texts), start, start + TEXTS)))

    def _texts(self, label: str) -> tuple[str, ...]:
        if label not in self._known:
            found = find_label(label, self._expander.classes, load_ontology("open")) if label else None
            self._known[label] = () if found is None else tuple(
                prompt.text for prompt in self._expander.expand(found, 0, 0, POOL))
        return self._known[label]
