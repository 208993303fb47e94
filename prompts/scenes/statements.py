"""What a sentence says, as claims that can be compared: which things, how many, how they look, are and lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from terrasynth.prompts.scenes.lexicon import Entry, Kind, Lexicon, Tokens, tokens

Claim = tuple[str, ...]
_METRES = re.compile(r"\d+(?:\.\d+)?")
_JOINS = frozenset({"and", "or", "nor", ","})  # what goes on with "no ... and ..."
_LOOSE = frozenset({"look", "amount", "word"})
_INSIDE = frozenset({"in", "at"})


class NounPhrase(NamedTuple):
    """A noun phrase.

    Attributes:
        looks: Amounts, looks and unknown words before it.
        words: The whole phrase, from its article or amount to the noun.
        absent: The sentence says that there is none.
    """

    noun: str
    looks: tuple[str, ...]
    words: Tokens
    absent: bool


_Item = tuple[Kind, str, NounPhrase | None]
"""A phrase of a sentence: kind, value, and where it is one the noun phrase. A named tuple takes ten times as long."""

_END: _Item = ("pause", "", None)


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence, read.

    Attributes:
        things: Its noun phrases in order.
        claims: What it says: ("thing", noun), ("look", noun, amount or look), ("state", noun, state), ("relation",
            noun, how, noun), ("condition", of the whole image), ("view", what took it), and ("word", noun beside it,
            word) of all that the lexicon does not know.
        sure: It leaves nothing open ("a road or a river" does).
    """

    things: tuple[NounPhrase, ...]
    claims: frozenset[Claim]
    sure: bool = True

    def implies(self, other: Statement) -> bool:
        """Whether another sentence says nothing that this one does not say."""
        return self.sure and other.sure and other.claims <= self.claims


def read(text: str, lexicon: Lexicon) -> Statement:
    """Read one or more sentences.

    What is not understood counts as a claim, so a text is never taken to say less than it does.
    """
    return read_tokens(tokens(text), lexicon)


def read_tokens(said: Tokens, lexicon: Lexicon) -> Statement:
    """As `read`, of a text whose tokens are known."""
    return _PhraseReader(_items(said, lexicon), lexicon).statement()


def says_other(said: Tokens, known: frozenset[str], lexicon: Lexicon) -> bool:
    """Whether a text surely claims something that none does whose tokens are all among those known.

    For a word that every phrase puts into a claim, the claim is of that word. It is no more than a quick look: where it
    is False, the text has to be read.
    """
    others = frozenset(said) - known
    return bool(others) and "m" not in said and any(map(lexicon.tells, others))  # "0.5 m a pixel" is "0.5 m"


def _items(said: Tokens, lexicon: Lexicon) -> list[_Item]:
    """The phrases of a text without its framing; what stands right before a noun is part of its phrase."""
    items: list[_Item] = []
    before: list[_Item] = []
    begin = place = 0
    absent, measured, at = False, "m" in said, lexicon.at
    while place < len(said):
        # This and what follows is done for each phrase of each caption of a data set.
        entry = (_resolution(said, place) if measured else None) or at(said, place)
        kind, value, length = entry or ("word", said[place], 1)
        if kind == "thing":
            looks = tuple([each[1] for each in before]) if before else ()
            items.append((kind, value, NounPhrase(value, looks, said[begin : place + length], absent)))
            before, begin = [], place + length
        elif kind in _LOOSE:
            before.append((kind, value, None))
        else:
            if before:
                items += before
                before = []
            # An article begins a noun phrase; anything else ends what may have begun.
            begin = place if value in ("a", "the") else place + length
            if absent and value == "or":  # "no trucks or buses" is "no trucks and no buses"
                kind = "pause"
            absent = kind == "none" or (absent and (kind == "frame" or value in _JOINS))
            if kind != "frame":
                items.append((kind, value, None))
        place += length
    return items + before


def _resolution(said: Tokens, place: int) -> Entry | None:
    """A resolution ("at 0.5 m a pixel") that stands at a place, or None."""
    first = place + (said[place] == "at")
    if said[first + 1 : first + 2] == ("m",) and _METRES.fullmatch(said[first]):
        length = first - place + (4 if said[first + 2 : first + 4] == ("a", "pixel") else 2)
        return Entry("condition", f"{said[first]} m", length)
    return None


class _PhraseReader:
    """The phrases of a text, and which noun each of them stands beside."""

    def __init__(self, items: list[_Item], lexicon: Lexicon) -> None:
        self._items, self._lexicon = items, lexicon
        self._things = tuple([thing for _, _, thing in items if thing is not None])
        # What "it" and "them" stand for: what the class is about, where that is named, else the first thing.
        self._subject = self._things[0].noun if self._things else ""
        for noun, _, _, _ in self._things:
            if noun in lexicon.subjects:
                self._subject = noun
                break

    def statement(self) -> Statement:
        """The claims of all phrases."""
        claims: set[Claim] = set()
        noun, sure = "", True  # the noun before
        for place, (kind, value, thing) in enumerate(self._items):
            if thing is not None:
                sign = "no " if thing.absent else ""
                claims.add((f"{sign}thing", value))
                for look in thing.looks:
                    claims.add((f"{sign}look", value, look))
                noun = value
            elif kind in ("condition", "view"):
                claims.add((kind, value))
            elif kind == "relation":
                if (relation := self._relation(place, value, noun)) is not None:
                    claims.add(relation)
            elif kind == "state":
                claims.add(("state", noun or self._noun_from(place), value))
            elif kind in _LOOSE:  # "the roofs are grey", or what is not understood
                predicate = kind == "look" and place > 0 and self._items[place - 1][0] == "verb"
                claims.add(("look" if predicate else "word", noun or self._noun_from(place), value))
            elif kind == "doubt":
                sure = False
        return Statement(self._things, frozenset(claims), sure)

    def _relation(self, place: int, how: str, noun: str) -> Claim | None:
        """What lies how to what; "in an aerial image" and "in the golf course" say nothing of that kind.

        Args:
            noun: The one before, or "".
        """
        items, after = self._items, place + 1
        kind, target, _ = items[after] if after < len(items) else _END
        if kind == "view" or (how in _INSIDE and target in self._lexicon.scenes):
            return None
        if kind == "pronoun":
            target = self._subject
        elif kind == "pause":
            target = ""
        return ("relation", self._related(place, noun), how, target)

    def _related(self, place: int, noun: str) -> str:
        """The noun that lies somewhere: the one before, but in "beside the harbor are two piers" the one after."""
        items = self._items
        if noun and place and items[place - 1][0] != "pause":
            return noun
        rest = [item for item in items[place + 2 :] if item[0] not in ("state", "condition", "word")]
        fronted = place == 0 or items[place - 1][0] == "pause"
        if fronted and len(rest) > 1 and rest[0][0] == "verb" and rest[1][2] is not None:
            return rest[1][1]
        return noun or next((value for _, value, thing in rest if thing is not None), "")

    def _noun_from(self, place: int) -> str:
        """The first noun from a place on, or ""; what has none before it belongs to that."""
        return next((value for _, value, thing in self._items[place:] if thing is not None), "")
