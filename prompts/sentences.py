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
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

_FIELD = re.compile(r"\{(\w+)(?:\.(\w+)|:([^/{}]*)/([^/{}]*))?\}")
PARTS = ("full", "bare", "noun", "attributes")
TAIL = ("state", "at")
Compiled = tuple[str, "itemgetter[object] | None"]


class Layout:
    """Where the words of a scene stand in its flat tuple.

    Each object slot takes the parts `PARTS`, one word for each pair of forms, and `TAIL`; each condition one word.
    """

    def __init__(self, slots: Sequence[str], conditions: Sequence[str], templates: Sequence[str]) -> None:
        """Lay out a scene's words.

        Args:
            slots: Of objects.
            conditions: Of the whole scene, each a single text.
            templates: Whose fields have to be found; the pairs of forms ("is/are") come from them.
        """
        found = (match.groups() for text in templates for match in _FIELD.finditer(text))
        self.pairs = tuple(sorted({(one, several or "") for _, _, one, several in found if one is not None}))
        self.slots, self.conditions = tuple(slots), tuple(conditions)
        self._width = len(PARTS) + len(self.pairs) + len(TAIL)
        self.absent = ("",) * self._width

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
            return first + len(PARTS) + self.pairs.index((one, several or ""))
        if part in TAIL:
            return first + self._width - len(TAIL) + TAIL.index(part)
        return first + PARTS.index(part or "full")

    def words(self, count: str, attributes: str, noun: str, plural: bool) -> tuple[str, ...]:
        """An object's words, without its `TAIL`."""
        bare = f"{attributes} {noun}" if attributes else noun
        full = with_article(bare) if count == "a" else f"{count} {bare}" if count else bare
        return (full, bare, noun, attributes, *(pair[plural] for pair in self.pairs))


class _Segment(NamedTuple):
    """A stretch of a template that is said or left out as one: text with %s, its fields' positions and bits."""

    text: str
    positions: tuple[int, ...]
    needs: int
    optional: bool


class Template:
    """A parsed template.

    Attributes:
        text: As it was written.
        needs: Bits of the slots without which the sentence cannot be said.
    """

    def __init__(self, text: str, layout: Layout) -> None:
        """Parse a template.

        Raises:
            ValueError: It names a slot or part that is not there, or its brackets or braces do not match.
        """
        self.text = text
        stretches = re.split(r"\[([^\[\]]*)\]", text)
        self._segments = [_parse(stretch, bool(i % 2), layout, text) for i, stretch in enumerate(stretches)]
        self.needs, self._optional = 0, 0
        for segment in self._segments:
            if segment.optional:
                self._optional |= segment.needs
            else:
                self.needs |= segment.needs
        self._compiled: dict[int, Compiled] = {}

    def render(self, present: int, words: tuple[str, ...]) -> str:
        """The sentence: first letter large, full stop at the end, one blank between words.

        Args:
            present: Bits of the slots that the scene fills, all of `needs` among them.
            words: Of the scene, as the layout has them.
        """
        known = present & self._optional
        text, pick = self._compiled.get(known) or self._compile(known)
        if pick is not None:
            text %= pick(words)
        if "  " in text or text[0] == " " or text[-1] == " ":
            text = " ".join(text.split())
        if " ," in text:
            text = text.replace(" ,", ",")
        return f"{text[0].upper()}{text[1:]}."

    def _compile(self, present: int) -> Compiled:
        said = [one for one in self._segments if not one.optional or one.needs & present == one.needs]
        positions = [position for one in said for position in one.positions]
        text = "".join(one.text for one in said)
        compiled: Compiled = (text, itemgetter(*positions)) if positions else (text.replace("%%", "%"), None)
        self._compiled[present] = compiled
        return compiled


def _parse(stretch: str, optional: bool, layout: Layout, template: str) -> _Segment:
    constants, positions, needs, end = [], [], 0, 0
    for match in _FIELD.finditer(stretch):
        slot, part, one, several = match.groups()
        try:
            positions.append(layout.position(slot, part, one, several))
        except ValueError:
            raise ValueError(f"template {template!r}: the class has no field {match[0]}") from None
        constants.append(stretch[end : match.start()])
        needs |= layout.bit(slot)
        end = match.end()
    constants.append(stretch[end:])
    if any(set(text) & set("[]{}") for text in constants):
        raise ValueError(f"template {template!r}: brackets or braces do not match")
    return _Segment("%s".join(text.replace("%", "%%") for text in constants), tuple(positions), needs, optional)


def with_article(phrase: str) -> str:
    """`a` or `an` before a phrase, by its first letters."""
    vowel = phrase[0] in "aeiou" and not phrase.startswith(("one", "uni", "use", "usu", "eu", "u-"))
    return f"an {phrase}" if vowel else f"a {phrase}"
