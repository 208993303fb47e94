"""A small grammar of captions: frame ("there are"), head ("two airplanes"), clauses ("with some cars beside them")."""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUANTITY = r"(?:two|three|four|five|six|seven|eight|nine|ten|some|many|several|lots of|a lot of|a few|few)"
_FRAME = re.compile(r"(?:there (?:is|are)|this is|these are|it is|here (?:is|are)) ")
_BORDER = re.compile(
    rf"(?<! is)(?<! are)(?<! and) (?=(?:with|while|which|surrounded by|and (?:there (?:is|are)|an?|{_QUANTITY})) )"
)
_SLOT = re.compile(
    r"\b(?P<word>two|three|four|five|six|seven|eight|nine|ten|some|many|several"
    r"|white|grey|gray|black|blue|green|red|orange|brown|yellow|small|big|large|old|new|narrow|wide) (?P<noun>[a-z]+)\b"
)
_QUANTITIES = re.compile("two|three|four|five|six|seven|eight|nine|ten|some|many|several")
_ARTICLE = re.compile(r"\ban?(?= (?P<vowel>(?!one\b|use|uni|eu)[aeiou])?)")
_PHRASE = re.compile(rf"(?:an?|one|{_QUANTITY}) ")
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|goes|go|come|comes)\b")
_OUTER_VERB = re.compile(r"(?:with|surrounded by) .*\b(?:is|are|was|were|has|have)\b")


@dataclass(frozen=True)
class Clauses:
    """A caption in parts.

    Attributes:
        head: What it is about, lower-case, without the frame.
        plural: Whether the head takes a plural verb.
        phrase: Whether the head is a noun phrase, to which a frame can be put; else it stands as it is.
        clauses: What is said on, each with its first word ("with", "and").
    """

    head: str
    plural: bool
    phrase: bool
    clauses: tuple[str, ...]


def parse(caption: str) -> Clauses:
    """Take a caption apart; `say` of the result has the same content words.

    Args:
        caption: One sentence; case, end mark and doubled blanks do not matter.

    Raises:
        ValueError: No word is left.
    """
    text = " ".join(caption.lower().split()).rstrip(" .!")
    frame = _FRAME.match(text + " ")
    rest = text[frame.end():] if frame else text
    if not rest:
        raise ValueError(f"caption {caption!r} says nothing")
    head, *clauses = _BORDER.split(rest)
    if any(_OUTER_VERB.match(clause) for clause in clauses):
        head, clauses = rest, []  # "a villa with plants is ...": the verb belongs to the head
    if frame:
        plural = " are " in f" {frame[0]} "
    else:
        plural = bool(re.match(rf"{_QUANTITY} ", head)) or not re.match(r"(?:an?|one|the|this|it) ", head)
    return Clauses(head, plural, phrase=bool(_PHRASE.match(head)) and not _VERB.search(head), clauses=tuple(clauses))


def fits(clause: str, plural: bool) -> bool:
    """Whether the pronouns of a clause can stand for a singular or plural head."""
    wrong = r"\b(?:it|its|itself)\b" if plural else r"\b(?:them|their|they|each other)\b"
    return not re.search(wrong, clause)


def slots(text: str) -> list[tuple[tuple[str, bool], int, int, str]]:
    """Words that others of their kind can replace: (noun after it, is a quantity), start, end, word."""
    found = []
    for match in _SLOT.finditer(text):
        word = match["word"]
        found.append(((match["noun"], bool(_QUANTITIES.fullmatch(word))), match.start("word"), match.end("word"), word))
    return found


def frames(parts: Clauses) -> tuple[str, ...]:
    """The words that can stand before the head, the empty ones first."""
    if not parts.phrase:
        return ("",)
    return ("", "there are ", "here are ") if parts.plural else ("", "there is ", "this is ", "here is ", "it is ")


def sentence(frame: str, head: str, clauses: tuple[str, ...]) -> str:
    """A caption from its parts: articles agree, first letter large, full stop."""
    text = " ".join([frame + head, *clauses])
    text = _ARTICLE.sub(lambda match: "an" if match["vowel"] else "a", text)
    return f"{text[0].upper()}{text[1:]}."
