"""What a sentence says, as claims that can be compared: which things, how many, how they look, are and lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from terrasynth.prompts.scenes.lexicon import Kind, Lexicon, Tokens, tokens

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


class _Item(NamedTuple):
    """A phrase of a sentence; `thing` only where it is a noun phrase."""

    kind: Kind
    value: str
    thing: NounPhrase | None = None


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
    return _PhraseReader(_items(tokens(text), lexicon), lexicon).statement()


def _items(said: Tokens, lexicon: Lexicon) -> list[_Item]:
    """The phrases of a text without its framing; what stands right before a noun is part of its phrase."""
    items: list[_Item] = []
    before: list[_Item] = []
    begin = place = 0
    absent = False
    while place < len(said):
        kind, value, length = _phrase(said, place, lexicon)
        if kind == "thing":
            thing = NounPhrase(value, tuple([each.value for each in before]), said[begin : place + length], absent)
            items.append(_Item(kind, value, thing))
            before, begin = [], place + length
        elif kind in _LOOSE:
            before.append(_Item(kind, value))
        else:
            items += before
            # An article begins a noun phrase; anything else ends what may have begun.
            before, begin = [], place if value in ("a", "the") else place + length
            if absent and value == "or":  # "no trucks or buses" is "no trucks and no buses"
                kind = "pause"
            absent = kind == "none" or (absent and (kind == "frame" or value in _JOINS))
            if kind != "frame":
                items.append(_Item(kind, value))
        place += length
    return items + before


def _phrase(said: Tokens, place: int, lexicon: Lexicon) -> tuple[Kind, str, int]:
    """Kind, value and length of what stands at a place."""
    first = place + (said[place] == "at")
    if said[first + 1 : first + 2] == ("m",) and _METRES.fullmatch(said[first]):
        length = first - place + (4 if said[first + 2 : first + 4] == ("a", "pixel") else 2)
        return "condition", f"{said[first]} m", length
    return lexicon.at(said, place) or ("word", said[place], 1)


class _PhraseReader:
    """The phrases of a text, and which noun each of them stands beside."""

    def __init__(self, items: list[_Item], lexicon: Lexicon) -> None:
        self._items, self._lexicon = items, lexicon
        self._sure = not any(item.kind == "doubt" for item in items)
        self._things = tuple(item.thing for item in items if item.thing is not None)
        nouns = [thing.noun for thing in self._things]
        # What "it" and "them" stand for: what the class is about, where that is named, else the first thing.
        self._subject = next((noun for noun in nouns if noun in lexicon.subjects), nouns[0] if nouns else "")
        self._before: list[str] = []
        noun = ""
        for item in items:
            self._before.append(noun)
            noun = item.value if item.thing is not None else noun

    def statement(self) -> Statement:
        """The claims of all phrases."""
        claims: set[Claim] = set()
        for place, (kind, value, thing) in enumerate(self._items):
            if thing is not None:
                sign = "no " if thing.absent else ""
                claims.add((f"{sign}thing", value))
                claims.update([(f"{sign}look", value, look) for look in thing.looks])
            elif kind in ("condition", "view"):
                claims.add((kind, value))
            elif kind == "relation":
                claims.update(self._relation(place, value))
            elif kind == "state":
                claims.add(("state", self._beside(place), value))
            elif kind in _LOOSE:  # "the roofs are grey", or what is not understood
                predicate = kind == "look" and place > 0 and self._items[place - 1].kind == "verb"
                claims.add(("look" if predicate else "word", self._beside(place), value))
        return Statement(self._things, frozenset(claims), self._sure)

    def _relation(self, place: int, how: str) -> tuple[Claim, ...]:
        """What lies how to what; "in an aerial image" and "in the golf course" say nothing of that kind."""
        items, after = self._items, place + 1
        kind, target, _ = items[after] if after < len(items) else _Item("pause", "")
        if kind == "view" or (how in _INSIDE and target in self._lexicon.scenes):
            return ()
        if kind == "pronoun":
            target = self._subject
        elif kind == "pause":
            target = ""
        return (("relation", self._related(place), how, target),)

    def _related(self, place: int) -> str:
        """The noun that lies somewhere: the one before, but in "beside the harbor are two piers" the one after."""
        items = self._items
        rest = [item for item in items[place + 2 :] if item.kind not in ("state", "condition", "word")]
        fronted = place == 0 or items[place - 1].kind == "pause"
        if fronted and len(rest) > 1 and rest[0].kind == "verb" and rest[1].thing is not None:
            return rest[1].value
        return self._before[place] or next((item.value for item in rest if item.thing is not None), "")

    def _beside(self, place: int) -> str:
        """The noun that a phrase belongs to: the one before it, else the one after."""
        return self._before[place] or next(
            (item.value for item in self._items[place:] if item.thing is not None), "")
