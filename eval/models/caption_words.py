"""Captions as words, words as the tokens of a captioner, and back as a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terrasynth.eval.models.caption_network import CaptionerConfig

_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


def caption_words(text: str) -> tuple[str, ...]:
    """The words of a text: lower case, no punctuation.

    Example:
        >>> from terrasynth.eval.models.caption_words import caption_words
        >>> caption_words("A U-shaped building, near Tom's field .")
        ('a', 'u-shaped', 'building', 'near', "tom's", 'field')
    """
    return tuple(_WORD.findall(text.lower()))


def as_sentence(words: Sequence[str]) -> str:
    """Words with a capital letter at the beginning and a full stop at the end.

    Example:
        >>> from terrasynth.eval.models.caption_words import as_sentence
        >>> as_sentence(["two", "boats"])
        'Two boats.'
    """
    text = " ".join(words)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def word_places(config: CaptionerConfig) -> dict[str, int]:
    """Word -> its token.

    Example:
        >>> from terrasynth.eval.models.caption_network import CaptionerConfig
        >>> from terrasynth.eval.models.caption_words import word_places
        >>> word_places(CaptionerConfig(styles=["rsicd", "ucm"], words=["a", "beach"]))
        {'a': 5, 'beach': 6}
    """
    from terrasynth.eval.models.caption_network import SPECIAL

    return {word: SPECIAL + len(config.styles) + row for row, word in enumerate(config.words)}


def encode_words(words: Sequence[str], places: Mapping[str, int], style: int, length: int) -> list[int]:
    """Tokens of a caption from its style to its end; what is longer is cut.

    Args:
        places: Word -> its token.
        style: Number of the style.
        length: Most tokens behind the first.

    Example:
        >>> from terrasynth.eval.models.caption_words import encode_words
        >>> encode_words(["a", "wide", "beach"], {"a": 5, "beach": 6}, style=1, length=30)
        [4, 5, 2, 6, 1]
    """
    from terrasynth.eval.models.caption_network import END, SPECIAL, UNKNOWN

    return [SPECIAL + style, *(places.get(word, UNKNOWN) for word in words[: length - 1]), END]
