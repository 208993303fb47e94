"""A text with the words marked that a model never met in training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.errors import UserError
from terrasynth.eval.models.knowledge import load_knowledge
from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve
from terrasynth.synthesis.core.embedded import WEIGHTS
from terrasynth.synthesis.core.knowledge import knows_class

if TYPE_CHECKING:
    from terrasynth.eval.models.knowledge import Knowledge
    from terrasynth.synthesis.service.references import Places

_WORD = re.compile(r"[^\W\d_]{2,}")  # as `terrasynth.eval.models.knowledge` parts a text


@dataclass(frozen=True)
class Piece:
    """A part of a text.

    Attributes:
        text: As it stands there.
        unread: Whether it is a word that the model never read.
    """

    text: str
    unread: bool


@dataclass(frozen=True)
class Reading:
    """A text as a model reads it.

    Attributes:
        pieces: The text in parts.
        known: Whether it is known which words the model met.
        class_known: Whether it met the class; None where no class is given, or nothing is known.
    """

    pieces: tuple[Piece, ...]
    known: bool
    class_known: bool | None = None

    @property
    def unread(self) -> list[str]:
        """The words that it never read, each once."""
        return list(dict.fromkeys(piece.text for piece in self.pieces if piece.unread))


def reading(text: str, label: str, model: str, lora: str, places: Places) -> Reading:
    """How a model reads a text. Nothing is fetched: of a model on the Hub that is not here, nothing is known.

    Args:
        text: The text.
        label: A class; "" for none.
        model: Model reference, as a request names it.
        lora: LoRA for it; "" for none.
        places: What requests may name.

    Example:
        >>> from terrasynth.synthesis.service.page.words import reading
        >>> from terrasynth.synthesis.service.references import Places
        >>> reading("A zebra on a beach.", "beach", "ldm-ucm", "", Places()).unread
        ['zebra']
    """
    met = _met(places, model)
    if met is not None and lora:
        own = _met(places, lora)
        met = met if own is None else met.joined(own)
    if met is None:
        return Reading((Piece(text, False),), False)
    return Reading(tuple(_pieces(text, met)), met.words is not None, knows_class(met, label) if label else None)


def _pieces(text: str, met: Knowledge) -> list[Piece]:
    unread, found, end = set(met.unread(text)), list[Piece](), 0
    for match in _WORD.finditer(text):
        if match[0].lower() in unread:
            found += [Piece(text[end:match.start()], False), Piece(match[0], True)]
            end = match.end()
    return [piece for piece in (*found, Piece(text[end:], False)) if piece.text]


def _met(places: Places, reference: str) -> Knowledge | None:
    try:
        name = places.model(reference)
        if Path(name).is_dir():
            return _read(Path(name))
        found = resolve(name, [EMBEDDED_ROOT, WEIGHTS])
        return _read(found.folder) if found.local else None
    except UserError:
        return None  # the form says what is wrong with the name when it is sent


@lru_cache(maxsize=16)
def _read(folder: Path) -> Knowledge | None:
    return load_knowledge(folder)
