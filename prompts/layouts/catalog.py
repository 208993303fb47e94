"""What layouts are made of, read from `catalog.yaml`: covers, ways and things, with their sizes in meters."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from terrasynth.hashing import text_hash
from terrasynth.prompts.layouts.geometry import BOX, Points
from terrasynth.prompts.scenes.wording import plural

_FILE = Path(__file__).parent / "catalog.yaml"
SIX = ("land", "building", "road", "motorway", "water", "green")
"""The classes of a land-cover map of six, by pixel value."""
Six = Literal["land", "building", "road", "motorway", "water", "green"]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]
Color = Annotated[list[int], Field(min_length=3, max_length=3)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cover(_Strict):
    """A land cover.

    Attributes:
        noun: How it is called.
        six: Its class in a land-cover map of six.
        color: Red, green, blue on drawn sheets.
    """

    noun: str
    six: Six
    color: Color


class WayKind(_Strict):
    """A kind of way.

    Attributes:
        cover: What it lays over the ground.
        width: Least and most, in meters.
        traffic: Cars drive on it.
        source: Where the range comes from.
    """

    cover: str
    noun: str
    width: Range
    traffic: bool
    source: str


class ThingKind(_Strict):
    """A kind of thing.

    Attributes:
        like: A kind that it is one of, too: a house is a building.
        six: Its class in a land-cover map of six; None for what lies below it.
        length: Least and most along its heading, in meters.
        width: Least and most across, in meters.
        shape: What its outline is, within its box.
        colors: Those it may have, with weights.
        source: Where the ranges come from.
    """

    noun: str
    like: str = ""
    six: Six | None = None
    length: Range
    width: Range
    shape: Literal["box", "car", "airplane", "hull", "disk", "crown", "fan"]
    colors: dict[str, int]
    source: str

    @property
    def plural(self) -> str:
        """The noun for several."""
        return plural(self.noun)


class Airplane(_Strict):
    """A type of airplane: length, wingspan and clearance to the next stand, in meters."""

    type: str
    length: float
    span: float
    clearance: float


class Catalog(_Strict):
    """All kinds, in the order of the file, which is that of the values of a semantic mask: covers, then things."""

    covers: dict[str, Cover]
    ways: dict[str, WayKind]
    things: dict[str, ThingKind]
    airplanes: list[Airplane]

    @model_validator(mode="after")
    def _consistent(self) -> Catalog:
        if both := self.covers.keys() & self.things.keys():
            raise ValueError(f"{sorted(both)} are covers and things")
        for name, way in self.ways.items():
            if way.cover not in self.covers:
                raise ValueError(f"way {name!r} lays {way.cover!r}, which is no cover")
        for name, thing in self.things.items():
            if thing.like and thing.like not in self.things:
                raise ValueError(f"thing {name!r} is like {thing.like!r}, which is no thing")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a semantic mask; a pixel's value is the place in it."""
        return (*self.covers, *self.things)

    def value(self, name: str) -> int:
        """The value that a cover or a thing has in a semantic mask."""
        return self.classes.index(name)


@lru_cache(maxsize=1)
def load_catalog() -> Catalog:
    """The catalog of covers, ways and things.

    Example:
        >>> from terrasynth.prompts.layouts.catalog import load_catalog
        >>> catalog = load_catalog()
        >>> catalog.things["tennis_court"].length, catalog.covers["wood"].six, catalog.classes[0]
        ([23.77, 23.77], 'green', 'land')
    """
    return Catalog.model_validate(_data())


@lru_cache(maxsize=1)
def six_values() -> NDArray[np.uint8]:
    """By value of a semantic mask, the value in a land-cover map of six, uint8 (C,).

    A thing that such maps do not show is land, which lies below the things of a mask.
    """
    catalog = load_catalog()
    names = [*(cover.six for cover in catalog.covers.values()), *(one.six for one in catalog.things.values())]
    return np.array([0 if name is None else SIX.index(name) for name in names], np.uint8)


@lru_cache(maxsize=1)
def catalog_hash() -> str:
    """16 hexadecimal digits over what `catalog.yaml` says."""
    return text_hash(json.dumps(_data()))


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return data


def same_kind(one: str, other: str) -> bool:
    """Whether of two kinds of thing one is the other, or both are kinds of a third: a house and a building."""
    things = load_catalog().things
    return (things[one].like or one) == (things[other].like or other)


def _half(points: list[tuple[float, float]]) -> Points:
    """An outline from its right half, from front to back."""
    right = np.array(points)
    left = right[::-1] * [-1, 1]
    return np.concatenate([right, left[~np.isin(left[:, 0], 0)]])


def _circle(points: int, wobble: float = 0.0) -> Points:
    turn = 2 * np.pi * np.arange(points) / points
    radius = 0.5 * (1 - wobble * (1 + np.sin(3 * turn) * np.cos(5 * turn)) / 2)
    return np.stack([radius * np.sin(turn), radius * np.cos(turn)], axis=1)


# Unit outlines: shares of the width to the right and of the length forward.
SHAPES: dict[str, Points] = {
    "box": BOX,
    "car": _half([(0.0, 0.5), (0.36, 0.5), (0.5, 0.4), (0.5, -0.44), (0.4, -0.5)]),
    "airplane": _half([
        (0.0, 0.5), (0.028, 0.47), (0.045, 0.38), (0.045, 0.14), (0.5, -0.13), (0.5, -0.18), (0.045, -0.06),
        (0.035, -0.32), (0.17, -0.45), (0.17, -0.5), (0.012, -0.45),
    ]),
    "hull": _half([(0.0, 0.5), (0.22, 0.42), (0.42, 0.3), (0.5, 0.15), (0.5, -0.46), (0.42, -0.5)]),
    "disk": _circle(28),
    "crown": _circle(14, 0.12),
    "fan": np.array([(0.0, -0.5), *((np.sin(t) * 0.70710678, np.cos(t) - 0.5)
                                    for t in np.linspace(-np.pi / 4, np.pi / 4, 13))]),
}
