"""What a prompt has to be on its own: short enough, seen from above, of its class, and new."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.errors import nearest
from terrasynth.hashing import text_hash
from terrasynth.prompts.checks.near import NearIndex, TextSet
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.reading import existing, records, text_of
from terrasynth.prompts.scenes.entailment import redrawn
from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.wording import (
    ClassWords,
    find_label,
    ground_view_words,
    load_class_words,
    normalised,
    singular,
    wording_hash,
    words,
)
from terrasynth.prompts.types import Prompt

if TYPE_CHECKING:
    from terrasynth.prompts.checks.settings import CheckSettings

TOO_LONG = "too many tokens"
GROUND_VIEW = "view from the ground"
UNNAMED = "class not named"
OTHER_CLASS = "another class named"
UNKNOWN_WORDS = "words outside the vocabulary"
KNOWN = "known caption"
UNSAID = "what sets its class apart not said"


class Judge:
    """The checks that look at one prompt alone."""

    def __init__(
        self, settings: CheckSettings, classes: Sequence[str], count_tokens: Callable[[str], int] | None,
        read: Callable[[str, str], str] | None = None,
    ) -> None:
        """Load what the checks compare with; for the arguments see `CheckedExpander`.

        Raises:
            InputError: The reference cannot be read.
        """
        self._settings = settings
        self._count_tokens, self._read = count_tokens, read
        self._class_words: ClassWords | None = None
        self._labels: dict[str, str | None] = {}  # what the profile calls each class
        if settings.keep_class:
            ontology = load_ontology(settings.profile)
            self._class_words = load_class_words(settings.profile)
            self._labels = {label: find_label(label, ontology.classes, ontology) for label in classes}
        self._vocabulary = load_ontology(settings.vocabulary).words if settings.vocabulary else None
        self._reference = (
            _reference(settings.reference, settings.reference_split, settings.max_overlap)
            if settings.reference else None
        )
        self._says = {label: [frozenset(map(singular, map(str.lower, some))) for some in lists]
                      for label, lists in (settings.says or {}).items()}
        if strangers := [label for label in self._says if label not in classes]:
            raise InputError(f"checks.says names class {strangers[0]!r}, of which there are no prompts"
                             f"{nearest(strangers[0], classes)}; there are: {', '.join(classes)}")

    def unchecked(self, label: str) -> bool:
        """Whether a prompt's class is not checked because the profile does not know it."""
        return self._class_words is not None and self._labels.get(label) is None

    def identity(self) -> dict[str, object]:
        """The checks that can drop or change a prompt, with hashes of what they compare with; no paths."""
        settings = self._settings
        parts: dict[str, object] = {}
        if settings.max_tokens is not None:
            parts["max_tokens"] = settings.max_tokens
            if self._read is not None:
                parts["max_tokens_of"] = "the text as the model reads it"  # an earlier version left the template out
        if settings.view:
            parts["view"] = wording_hash()
        if self._class_words is not None and any(self._labels.values()):
            parts["keep_class"] = _digest([self._class_words.hash(), self._labels])
        if self._vocabulary is not None and settings.strict_vocabulary:
            parts["vocabulary"] = _digest(sorted(self._vocabulary))
        if self._reference is not None:
            parts["reference"] = {"captions": self._reference.hash, "max_overlap": settings.max_overlap}
        if self._says:
            parts["says"] = {label: [sorted(some) for some in lists] for label, lists in sorted(self._says.items())}
        return parts

    def fitted(self, prompt: Prompt) -> Prompt | None:
        """The prompt with the first of its choices that is short enough as its text, or None."""
        limit = self._settings.max_tokens
        if not isinstance(limit, int) or self._count_tokens is None:
            return prompt
        if prompt.text_after and self._tokens(prompt.text_after, prompt.label) > limit:
            return None
        choices = prompt.choices or prompt.captions
        text = next((one for one in choices if self._tokens(one, prompt.label) <= limit), None)
        if text is None or text == prompt.text:
            return prompt if text else None
        return redrawn(prompt, text)

    def _tokens(self, text: str, label: str) -> int:
        assert self._count_tokens is not None
        return self._count_tokens(text if self._read is None else self._read(text, label))

    def goes_outside(self, prompt: Prompt) -> bool:
        """Whether the text has words outside the vocabulary."""
        if self._vocabulary is None:
            return False
        return any(word not in self._vocabulary and not word.isdecimal() for word in words(prompt.text))

    def refusal(self, prompt: Prompt, outside: bool) -> str | None:
        """Why the text of a fitted prompt does not do, or None.

        Args:
            outside: Whether it has words outside the vocabulary.
        """
        text, label = prompt.text, self._labels.get(prompt.label)
        if self._settings.view and ground_view_words(text):
            return GROUND_VIEW
        if self._class_words is not None and label is not None:
            if not self._class_words.names(label, text):
                return UNNAMED
            if self._class_words.others(label, text):
                return OTHER_CLASS
        if outside and self._settings.strict_vocabulary:
            return UNKNOWN_WORDS
        if not self.sets_apart(prompt.label, text):
            return UNSAID
        return KNOWN if self._reference is not None and self._reference.knows(text) else None

    def sets_apart(self, label: str, text: str) -> bool:
        """Whether a text says a word of each list that is asked of its class."""
        lists = self._says.get(label)
        return not lists or all(some & {singular(word) for word in words(text)} for some in lists)


@dataclass(frozen=True)
class Reference:
    """Captions that prompts should not repeat.

    Attributes:
        hash: 16 hexadecimal digits over their wording, whatever their order.
        texts: The captions, where only equal wording counts.
        index: The captions, where near wording counts too.
    """

    hash: str
    texts: TextSet | None
    index: NearIndex | None

    def knows(self, text: str) -> bool:
        """Whether a caption is as similar to a text as is not allowed."""
        return (self.texts is not None and text in self.texts) or (self.index is not None and self.index.near(text))


def _reference(path: str, split: str, max_overlap: float) -> Reference:
    distinct = sorted({normalised(caption) for caption in _captions(path, split)})
    texts, index = TextSet(), NearIndex(max_overlap) if max_overlap < 1 else None
    for text in distinct:
        if index is None:
            texts.add(text)
        else:
            index.add(text)
    return Reference(_digest(distinct), None if index else texts, index)


def _captions(path: str, split: str) -> Iterator[str]:
    """The captions of one split of a file, or of a folder of text files; which class they are of does not matter."""
    files = sorted(Path(path).glob("*.txt")) if Path(path).is_dir() else []
    for file in files or [existing(path, "captions")]:
        for line, row in records(file, ""):
            if split in ("all", row.get("split", split)):
                found = row.get("captions", row.get("caption", row.get("text")))
                for caption in found if isinstance(found, list) else [found]:
                    yield text_of(file, line, "caption", caption)


def _digest(value: object) -> str:
    return text_hash(json.dumps(value))
