"""What is in an image, as data: text is rendered from it, and it travels with the sample as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

NUMBERS = {"no": 0, "a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
           "nine": 9, "ten": 10, "eleven": 11, "twelve": 12}


@dataclass(frozen=True)
class SceneObject:
    """A kind of thing in the scene.

    Attributes:
        role: Its place in the class's ontology, by which relations refer to it.
        noun: What it is, in the singular where it has one.
        count: How many, in words ("two", "lots of"; "the" and "" say nothing).
        number: How many where `count` says so exactly, else None.
        attributes: What it looks like ("small", "dark green"), in speaking order.
        state: Its arrangement or action ("parked neatly"), or "".
        surroundings: It is the land cover around what the class is about.
    """

    role: str
    noun: str
    count: str = ""
    number: int | None = None
    attributes: tuple[str, ...] = ()
    state: str = ""
    surroundings: bool = False


@dataclass(frozen=True)
class Relation:
    """How one object lies to another, both named by role: car "beside" airplane."""

    subject: str
    predicate: str
    object: str


@dataclass(frozen=True)
class Scene:
    """An image's content.

    Attributes:
        objects: What is in it; the first is what the class is about.
        relations: How the objects lie to each other.
        season: When in the year, in words, or "".
        light: Sun, shadows and haze, in words, or "".
        place: In what kind of place it lies, in words, or "".
        sensor: What took the image, in words, or "".
        gsd: Ground sampling distance in meters a pixel, or None.
    """

    label: str
    objects: tuple[SceneObject, ...]
    relations: tuple[Relation, ...] = ()
    season: str = ""
    light: str = ""
    place: str = ""
    sensor: str = ""
    gsd: float | None = None

    @property
    def surroundings(self) -> tuple[SceneObject, ...]:
        """The land cover around what the class is about."""
        return tuple(thing for thing in self.objects if thing.surroundings)

    def to_json(self) -> str:
        """The scene as a JSON object; equal scenes give equal strings."""
        return as_json(vars(self) | {"objects": [vars(thing) for thing in self.objects],
                                     "relations": [vars(one) for one in self.relations]})

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """The inverse of `to_json`.

        Raises:
            ValueError: `text` is not JSON.
            KeyError, TypeError: It lacks a field of a scene, has one that a scene has not, or one of another type.
        """
        data = json.loads(text)
        things = tuple(_object(**{**one, "attributes": tuple(one["attributes"])}) for one in data.pop("objects"))
        relations = tuple(_relation(**one) for one in data.pop("relations"))
        found = cls(objects=things, relations=relations, **data)
        _check_types(found)
        return found


# Classes have few of them, which come again and again.
@lru_cache(maxsize=4096, typed=True)
def _object(**fields: Any) -> SceneObject:  # noqa: ANN401 - as JSON has them
    found = SceneObject(**fields)
    _check_types(found)
    return found


@lru_cache(maxsize=4096, typed=True)
def _relation(**fields: Any) -> Relation:  # noqa: ANN401 - as JSON has them
    found = Relation(**fields)
    _check_types(found)
    return found


def _check_types(part: Scene | SceneObject | Relation) -> None:
    for name, value in vars(part).items():
        if name in ("objects", "relations"):
            continue
        right = _OTHER_TYPES.get(name)
        if not (isinstance(value, str) if right is None else right(value)):
            raise TypeError(f"{name} {value!r} has another type than in a scene")


_OTHER_TYPES: dict[str, Callable[[object], bool]] = {
    "number": lambda value: value is None or (isinstance(value, int) and not isinstance(value, bool)),
    "attributes": lambda value: isinstance(value, tuple) and all(isinstance(one, str) for one in value),
    "surroundings": lambda value: isinstance(value, bool),
    "gsd": lambda value: value is None or (isinstance(value, int | float) and not isinstance(value, bool)),
}


def as_json(value: object) -> str:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
