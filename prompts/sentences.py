"""Sentence templates: from a scene to one way of saying it.

A template is text with fields in braces and optional parts in brackets:

    {role}           the object with count and attributes ("two white airplanes")
    {role.bare}      attributes and noun ("white airplanes")
    {role.noun}      the noun alone ("airplanes")
    {role.attributes}, {role.state}, {role.at}   its attributes, its state, its relation to the main object
    {role:is/are}    the first words where the object takes a singular verb, else the second
    [ ... ]          left out where the scene lacks an object that it names
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import NamedTuple

from prompts.ontology import Ontology
from prompts.scene import Scene

_FIELD = re.compile(r"\{(\w+)(?:\.(\w+)|:([^/{}]*)/([^/{}]*))?\}")
_PARTS = ("full", "bare", "noun", "attributes", "state", "at")


class Said(NamedTuple):
    """An object of a scene in words; see the module for the parts."""

    full: str
    bare: str
    noun: str
    attributes: str
    state: str
    at: str
    plural: bool


def say(scene: Scene, ontology: Ontology) -> dict[str, Said]:
    """Every object of the scene in words, by role."""
    predicates = {relation.subject: relation.predicate for relation in scene.relations}
    said = {}
    for thing in scene.objects:
        noun, plural = ontology.form(thing.noun, thing.count)
        attributes = " ".join(thing.attributes)
        bare = f"{attributes} {noun}" if attributes else noun
        count = "an" if thing.count == "a" and bare[0] in "aeiou" else thing.count
        said[thing.role] = Said(f"{count} {bare}" if count else bare, bare, noun, attributes, thing.state,
                                predicates.get(thing.role, ""), plural)
    return said


class _Field(NamedTuple):
    """A field of a template: a part of `Said`, or (where `part` is empty) one of two forms of a word."""

    role: str
    part: str
    singular: str
    plural: str

    def __call__(self, said: Mapping[str, Said]) -> str:
        thing = said[self.role]
        if self.part:
            return str(getattr(thing, self.part))
        return self.plural if thing.plural else self.singular


class _Segment(NamedTuple):
    """A stretch of a template that is said or left out as one."""

    pieces: tuple[str | _Field, ...]
    roles: frozenset[str]
    optional: bool


class Template:
    """A parsed template.

    Attributes:
        text: As it was written.
        needs: Roles without which the sentence cannot be said.
    """

    def __init__(self, text: str, roles: Container[str]) -> None:
        """Parse a template.

        Args:
            text: The template.
            roles: The roles that objects of the class can have.

        Raises:
            ValueError: The template names another role or part, or its brackets or braces do not match.
        """
        self.text = text
        stretches = re.split(r"\[([^\[\]]*)\]", text)
        self._segments = tuple(_parse(stretch, bool(i % 2), roles, text) for i, stretch in enumerate(stretches))
        self.needs = frozenset(role for one in self._segments if not one.optional for role in one.roles)

    def render(self, said: Mapping[str, Said]) -> str:
        """The sentence: first letter large, full stop at the end, one blank between words.

        Args:
            said: The scene's objects in words, by role; all of `needs` are among them.
        """
        stretches = (
            piece if isinstance(piece, str) else piece(said)
            for one in self._segments if not one.optional or one.roles <= said.keys()
            for piece in one.pieces
        )
        words = " ".join("".join(stretches).split())
        return f"{words[0].upper()}{words[1:]}."


def _parse(stretch: str, optional: bool, roles: Container[str], text: str) -> _Segment:
    pieces: list[str | _Field] = []
    named = set()
    end = 0
    for match in _FIELD.finditer(stretch):
        role, part, singular, plural = match.groups()
        if role not in roles or (part and part not in _PARTS):
            raise ValueError(f"template {text!r}: the class has no field {match[0]}")
        pieces.append(stretch[end : match.start()])
        pieces.append(_Field(role, part or ("full" if singular is None else ""), singular or "", plural or ""))
        named.add(role)
        end = match.end()
    pieces.append(stretch[end:])
    if any(isinstance(piece, str) and set(piece) & set("[]{}") for piece in pieces):
        raise ValueError(f"template {text!r}: brackets or braces do not match")
    return _Segment(tuple(pieces), frozenset(named), optional)
