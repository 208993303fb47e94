"""Sentence templates: from what is in a scene to one way of saying it.

A template is text with fields in braces and optional parts in brackets:

    {slot}           the object with count and attributes ("two white airplanes"), or a condition ("in winter")
    {slot.bare}      attributes and noun ("white airplanes")
    {slot.noun}      the noun alone ("airplanes")
    {slot.attributes}, {slot.state}, {slot.at}   its attributes, its state, its relation to the main object
    {slot:is/are}    the first words where the object takes a singular verb, else the second
    [ ... ]          left out where the scene lacks something that it names

A slot is what templates refer to: an object's role, or its place among the others (`one`, `two`). What fills the slots
of a scene lies in one flat tuple of words, so that a template, once its optional parts are decided, is a single `%`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

_FIELD = re.compile(r"\{(\w+)(?:\.(\w+)|:([^/{}]*)/([^/{}]*))?\}")
PARTS = ("full", "bare", "noun", "attributes")
OPENING = "view"  # the condition with which sentences begin
TAIL = ("state", "at")


class Layout:
    """Where the words of a scene stand in its flat tuple.

    Each object slot takes the parts `PARTS`, the first of them as a sentence begins with it, one word for each pair of
    forms, and `TAIL`; each condition one word; at the end, where there are conditions, `OPENING` as a sentence begins
    with it. Those of `TAIL` and the conditions begin with a blank where they are not empty, in place of that before
    their field.
    """

    def __init__(self, slots: Sequence[str], conditions: Sequence[str], templates: Sequence[str]) -> None:
        """Lay out a scene's words.

        Args:
            conditions: Of the whole scene, each a single text.
            templates: Whose fields have to be found; the pairs of forms ("is/are") come from them.
        """
        found = (match.groups() for text in templates for match in _FIELD.finditer(text))
        self.pairs = tuple(sorted({(one, several or "") for _, _, one, several in found if one is not None}))
        self.slots, self.conditions = tuple(slots), tuple(conditions)
        self._width = len(PARTS) + 1 + len(self.pairs) + len(TAIL)
        self.absent = ("",) * (self._width - len(TAIL)), ("",) * len(TAIL)

    def bit(self, slot: str) -> int:
        """The slot's bit among those that a scene fills.

        Raises:
            ValueError: There is no such slot.
        """
        return 1 << (*self.slots, *self.conditions).index(slot)

    def position(self, slot: str, part: str | None, one: str | None, several: str | None) -> int:
        """Where a field's word stands.

        Raises:
            ValueError: There is no such slot, or it has no such part or form.
        """
        if slot in self.conditions:
            if part is not None or one is not None:
                raise ValueError(f"{slot} is a single text")
            return len(self.slots) * self._width + self.conditions.index(slot)
        first = self.slots.index(slot) * self._width
        if one is not None:
            return first + len(PARTS) + 1 + self.pairs.index((one, several or ""))
        if part in TAIL:
            return first + self._width - len(TAIL) + TAIL.index(part)
        return first + PARTS.index(part or "full")

    @property
    def size(self) -> int:
        """Words of a scene."""
        return len(self.slots) * self._width + len(self.conditions) + (OPENING in self.conditions)

    def place_of(self, position: int) -> tuple[int, str]:
        """Number of its slot, or of its condition behind all slots, and its part of the slot ("" of a condition)."""
        ends = len(self.slots) * self._width
        if position >= ends:  # behind the conditions stands `OPENING` once more
            number = position - ends
            return len(self.slots) + (number if number < len(self.conditions) else self.conditions.index(OPENING)), ""
        number, part = divmod(position, self._width)
        if part >= self._width - len(TAIL):
            return number, TAIL[part - self._width]
        return number, PARTS[part] if part < len(PARTS) else "full" if part == len(PARTS) else "form"

    def begins_with_blank(self, slot: str, part: str | None) -> bool:
        """Whether a field's word brings its own blank."""
        return part in TAIL or slot in self.conditions

    def words(self, count: str, attributes: str, noun: str, plural: bool) -> tuple[str, ...]:
        """An object's words, without its `TAIL`."""
        bare = f"{attributes} {noun}" if attributes else noun
        full = with_article(bare) if count == "a" else f"{count} {bare}" if count else bare
        return (full, bare, noun, attributes, capital(full), *(pair[plural] for pair in self.pairs))

    def at_the_start(self, position: int) -> int | None:
        """Where the words stand with which a sentence can begin in place of those at a position; None if nowhere."""
        number, part = divmod(position, self._width)
        if number < len(self.slots):
            return position + len(PARTS) if PARTS[part:part + 1] == ("full",) else None
        ends = len(self.slots) * self._width + len(self.conditions)
        return ends if self.conditions[position - ends] == OPENING else None


class TemplateVariant(NamedTuple):
    """A template with its optional parts decided.

    Attributes:
        text: With %s for words.
        pick: The words, of a scene's.
        finished: It is a sentence whatever the words: large first letter, full stop, no blank too many.
        positions: Where the words stand in a scene's.
    """

    text: str
    pick: Callable[[tuple[str, ...]], object]
    finished: bool
    positions: frozenset[int]

    def of(self, words: tuple[str, ...]) -> str:
        """The sentence, of a scene's words."""
        return self.text % self.pick(words) if self.finished else tidy(self.text % self.pick(words))


class _Segment(NamedTuple):
    """A stretch of a template that is said or left out as one.

    Attributes:
        text: With %s for fields.
        positions: Where the fields' words stand.
        needs: Bits of the slots that it names.
        optional: It is left out where one of them is not filled.
        loose: Words can leave a blank too many.
        opens: It begins with `OPENING`, whose blank is one too many behind other text.
    """

    text: str
    positions: tuple[int, ...]
    needs: int
    optional: bool
    loose: bool
    opens: bool


class Template:
    """A parsed template.

    Attributes:
        needs: Bits of the slots without which the sentence cannot be said.
    """

    def __init__(self, text: str, layout: Layout) -> None:
        """Parse a template.

        Raises:
            ValueError: It names a slot or part that is not there, or its brackets or braces do not match.
        """
        self.text, self._layout = text, layout
        stretches = re.split(r"\[([^\[\]]*)\]", text)
        self._segments = [_parse(stretch, bool(i % 2), layout, text) for i, stretch in enumerate(stretches)]
        self.needs, self._optional = 0, 0
        for segment in self._segments:
            if segment.optional:
                self._optional |= segment.needs
            else:
                self.needs |= segment.needs
        self._sayings: dict[int, TemplateVariant] = {}

    def render(self, present: int, words: tuple[str, ...]) -> str:
        """The sentence: first letter large, full stop at the end, one blank between words.

        Args:
            present: Bits of the slots that the scene fills, all of `needs` among them.
            words: Of the scene, as the layout has them.
        """
        return self.saying(present).of(words)

    def saying(self, present: int) -> TemplateVariant:
        """How it is said of the scenes that fill these slots."""
        known = present & self._optional
        return self._sayings.get(known) or self._sayings.setdefault(known, self._decide(known))

    def _decide(self, present: int) -> TemplateVariant:
        said = [one for one in self._segments if not one.optional or one.needs & present == one.needs]
        positions = [position for one in said for position in one.positions]
        text = "".join(one.text for one in said).rstrip()
        opening = self._layout.at_the_start(positions[0]) if text.startswith("%s") else None
        if opening is not None:
            positions[0] = opening
        behind = [one for number, one in enumerate(said) if any(before.text for before in said[:number])]
        loose = any(one.loose for one in said) or any(one.opens for one in behind) or "  " in text
        if finished := not loose and (opening is not None or text[0].isalnum()):
            text = f"{text[0].upper()}{text[1:]}."
        return TemplateVariant(text, _pick(positions), finished, frozenset(positions))


def _parse(stretch: str, optional: bool, layout: Layout, template: str) -> _Segment:
    constants: list[str] = []
    positions, needs, loose, opens, end = [], 0, False, False, 0
    for match in _FIELD.finditer(stretch):
        slot, part, one, several = match.groups()
        try:
            positions.append(layout.position(slot, part, one, several))
        except ValueError:
            raise ValueError(f"template {template!r}: the class has no field {match[0]}") from None
        before = stretch[end : match.start()]
        blank = layout.begins_with_blank(slot, part)
        first = blank and slot == OPENING and not constants and not before
        opens |= first
        constants.append(before.removesuffix(" ") if blank else before)
        loose |= part == "attributes" or (blank and not before.endswith(" ") and not first)
        needs |= layout.bit(slot)
        end = match.end()
    constants.append(stretch[end:])
    if any(set(text) & set("[]{}") for text in constants):
        raise ValueError(f"template {template!r}: brackets or braces do not match")
    return _Segment("%s".join(text.replace("%", "%%") for text in constants), tuple(positions), needs, optional,
                    loose, opens)


def _pick(positions: Sequence[int]) -> Callable[[tuple[str, ...]], object]:
    return itemgetter(*positions) if positions else lambda words: ()


def tidy(text: str) -> str:
    """The text with one blank between its words, a large first letter and a full stop."""
    text = " ".join(text.split())
    return f"{text[0].upper()}{text[1:]}."


def capital(text: str) -> str:
    """The text with a large first letter."""
    return text[:1].upper() + text[1:]


def with_article(phrase: str) -> str:
    """`a` or `an` before a phrase, by its first letters."""
    vowel = phrase[0] in "aeiou" and not phrase.startswith(("one", "uni", "use", "usu", "eu", "u-"))
    return f"an {phrase}" if vowel else f"a {phrase}"
