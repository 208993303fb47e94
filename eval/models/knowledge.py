"""What a model met in training: the words of its captions and its classes, in a file beside its weights.

A tokenizer takes every word apart into pieces it knows, so nothing else tells that a model never read one. The file
holds single words and names of classes, never sentences.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from terrasynth.errors import one_line
from terrasynth.eval.errors import InputError
from terrasynth.eval.models.references import KNOWLEDGE_FILE, ResolvedModel

SELDOM = 2
"""A word that stands in fewer captions than this is not taken for known."""

LARGEST = 16 * 2**20
"""Bytes of the file."""

_SAY_NOTHING = frozenset({"the", "an", "of", "in", "on", "at", "to", "with", "and", "or", "by", "from", "for", "as",
                          "is", "are", "it", "its", "this", "that", "there", "be", "can", "has", "have", "also", "too",
                          "so", "while", "which", "where", "them", "they", "these", "those"})
# That it is an image from above is true of all that such a model draws or reads: nothing is lost with the word.
_OF_THE_IMAGE = frozenset({"image", "imagery", "picture", "photo", "photograph", "orthophoto", "view", "scene", "shot",
                           "satellite", "aerial", "airborne", "drone", "remote", "sensing", "overhead", "nadir",
                           "above", "straight", "directly", "down", "top", "look", "looking", "see", "seen",
                           "viewed", "taken", "captured", "show", "showing", "shown", "depict", "depicting"})
_WORD = re.compile(r"[^\W\d_]{2,}")
_POSSESSIVE = re.compile("['\u2019]s\\b")


@dataclass(frozen=True)
class Knowledge:
    """What a model met in training.

    Attributes:
        words: Lower-case words of its captions; None for a model that reads no text.
        classes: Its classes, as its data called them; empty where it had none.
    """

    words: frozenset[str] | None
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, captions: Iterable[str] | None, classes: Iterable[str]) -> Knowledge:
        """What captions and classes of training data teach.

        Args:
            captions: Those of the training split alone; None for a model that reads no text.
            classes: Those of the training split; "" is none.
        """
        found = tuple(sorted(set(classes) - {""}))
        if captions is None:
            return cls(None, found)
        counts = Counter(word for caption in captions for word in set(words_of(caption)))
        return cls(frozenset(word for word, count in counts.items() if count >= SELDOM), found)

    def joined(self, other: Knowledge) -> Knowledge:
        """What a model knows that met both, one after the other."""
        read = [one.words for one in (self, other) if one.words is not None]
        return Knowledge(frozenset().union(*read) if read else None, tuple(sorted({*self.classes, *other.classes})))

    def unread(self, text: str) -> tuple[str, ...]:
        """The words of a text that the model never read, in order, each once.

        Numbers, articles, prepositions and the like count as read, and so do words that say of every image from above
        what it is, such as "satellite image".
        """
        if self.words is None:
            return ()
        known = self.words | _OF_THE_IMAGE
        return tuple(dict.fromkeys(word for word in words_of(text)
                                   if word not in _SAY_NOTHING and not known & forms_of(word)))

    def save(self, folder: Path) -> Path:
        """Write it beside a model's weights; the same knowledge always gives the same bytes."""
        content = {"words": None if self.words is None else sorted(self.words), "classes": list(self.classes)}
        path = folder / KNOWLEDGE_FILE
        path.write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        return path


def words_of(text: str) -> list[str]:
    """The words of a text that count, lower-case: letters alone, two at the least; a hyphen parts words."""
    return _WORD.findall(_POSSESSIVE.sub("", text.lower()))


def load_knowledge(folder: Path) -> Knowledge | None:
    """What the file in a model's folder says; None without one.

    Raises:
        InputError: The file says nothing that can be read.
    """
    path = folder / KNOWLEDGE_FILE
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size} bytes, where {LARGEST} are the most")
        content = json.loads(path.read_text(encoding="utf-8"))
        words, classes = content["words"], content["classes"]
        for texts in ([] if words is None else words, classes):
            if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
                raise ValueError("words and classes have to be lists of texts")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error, 100)}); make it again with `terrasynth models "
                         "describe`, or remove it") from error
    return Knowledge(None if words is None else frozenset(words), tuple(classes))


def knowledge_of(model: ResolvedModel, folder: Path | None = None) -> Knowledge | None:
    """What a model knows, embedded, local or on the Hub; None where nothing says.

    Args:
        folder: Where its files are, if it is on the Hub and that is known.
    """
    if model.local:
        return load_knowledge(model.folder)
    if folder is not None and (folder / KNOWLEDGE_FILE).is_file():
        return load_knowledge(folder)
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(model.location, KNOWLEDGE_FILE, revision=model.revision)
    except (OSError, ValueError):  # no such file there, or no network: then nothing says what the model knows
        return None
    return load_knowledge(Path(path).parent)


def forms_of(word: str) -> set[str]:
    """A word in the singular and the plural, by the simple rules."""
    found = {word, f"{word}s", f"{word}es"}
    if word.endswith("s"):
        found.add(word[:-1])
    if word.endswith("es"):
        found.add(word[:-2])
    if word.endswith("ies"):
        found.add(f"{word[:-3]}y")
    if word.endswith("y"):
        found.add(f"{word[:-1]}ies")
    return found
