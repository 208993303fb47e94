"""What is said of single things: captions of regions, and expressions that are true of exactly one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from terrasynth.prompts.layouts.catalog import load_catalog, same_kind
from terrasynth.prompts.layouts.facts import RELATIONS, SAID_GROUNDS, ground_of, holds, side_of
from terrasynth.prompts.layouts.labels import Instance, Labels
from terrasynth.prompts.layouts.saying import with_article
from terrasynth.prompts.scenes.draws import Draws

CLEAR = 1.25  # times as many pixels as the next one: the largest, and so on
APART = 2.0  # pixels between centers: the leftmost, and so on
_EXTREMES: dict[str, Callable[[Instance], float]] = {
    "leftmost": lambda one: -one.center[0], "rightmost": lambda one: one.center[0],
    "topmost": lambda one: -one.center[1], "bottommost": lambda one: one.center[1],
}


@dataclass(frozen=True)
class Expression:
    """Words that are true of exactly one labeled thing.

    Attributes:
        text: "the leftmost white car".
        number: Whose they are: its value in the instance mask.
        box: Its upright box.
    """

    text: str
    number: int
    box: tuple[int, int, int, int]


def region_captions(labels: Labels) -> tuple[str, ...]:
    """A caption for each labeled thing, by number: what it is, its color, what it is on, where in the image it is.

    Example:
        >>> from terrasynth.prompts.layouts.labels import Labels
        >>> from terrasynth.prompts.layouts.layout import Layout, Thing
        >>> from terrasynth.prompts.layouts.regions import region_captions
        >>> car = Thing("car", x=20.0, y=12.0, heading=90.0, length=4.5, width=2.0, color="white")
        >>> region_captions(Labels(Layout("parkinglot", side=64.0, gsd=0.5, ground="parking", things=(car,))))
        ('a white car on a parking lot in the upper left',)
    """
    return tuple(f"{with_article(_named(one))}{_on(labels, one)}{_where(labels, one)}" for one in labels.instances)


def expressions(labels: Labels, draws: Draws, most: int = 1) -> list[Expression]:
    """Referring expressions, at most so many a thing; a thing that none singles out has none.

    Kinds that may not be counted are left out: something of them may have no label. Margins are asked of superlatives:
    the largest of its kind fills 1.25 times the pixels of the next, the leftmost lies 2 pixels farther left.

    Example:
        >>> from terrasynth.prompts.layouts.labels import Labels
        >>> from terrasynth.prompts.layouts.layout import Layout, Thing
        >>> from terrasynth.prompts.layouts.regions import expressions
        >>> from terrasynth.prompts.scenes.draws import Draws
        >>> car = Thing("car", x=20.0, y=12.0, heading=90.0, length=4.5, width=2.0)
        >>> labels = Labels(Layout("parkinglot", side=64.0, gsd=0.5, ground="parking", things=(car,)))
        >>> [one.text for one in expressions(labels, Draws("example"))]
        ['the car']
    """
    found = []
    for kind in labels.counts:
        things = labels.of(kind)
        for one in things:
            texts = list(dict.fromkeys(_ways(labels, kind, one, things)))
            # The plain noun says it where it can; else any of the ways does.
            chosen = texts[:1] if len(things) == 1 else draws.shuffled(texts)[:most]
            found += [Expression(text, one.number, one.box) for text in chosen]
    return found


def _ways(labels: Labels, kind: str, one: Instance, things: Sequence[Instance]) -> Iterator[str]:
    """Expressions that single out a thing among those of its kind."""
    noun = load_catalog().things[kind].noun
    if len(things) == 1:
        yield f"the {noun}"
    groups = [("", things)]
    if one.color and all(other.color for other in things):
        groups.append((f"{one.color} ", [other for other in things if other.color == one.color]))
    for color, group in groups:
        if len(group) == 1 and color:
            yield f"the {color}{noun}"
        if len(group) > 1:
            for word, far in _EXTREMES.items():
                if all(far(one) >= far(other) + APART for other in group if other is not one):
                    yield f"the {word} {color}{noun}"
            others = [other.pixels for other in group if other is not one]
            if one.pixels >= CLEAR * max(others):
                yield f"the largest {color}{noun}"
            if one.pixels * CLEAR <= min(others):
                yield f"the smallest {color}{noun}"
            where = side_of([one], labels.layout.pixels)
            if where and not any(_in(labels, other, where) for other in group if other is not one):
                yield f"the {color}{noun} {where}"
            yield from _related(labels, one, group, f"the {color}{noun}")


def _related(labels: Labels, one: Instance, group: Sequence[Instance], start: str) -> Iterator[str]:
    """By how it alone lies to the only thing of another kind."""
    gsd = labels.layout.gsd
    for kind, count in labels.counts.items():
        if count == 1 and not same_kind(kind, one.kind):
            target = labels.of(kind)[0]
            for relation in RELATIONS:
                if [other for other in group if holds(other, relation, target, gsd)] == [one]:
                    yield f"{start} {relation} the {load_catalog().things[kind].noun}"


def _in(labels: Labels, one: Instance, where: str) -> bool:
    """Whether a thing may be said to lie there; in doubt it may.

    A thing whose center is near the middle line lies in no half for sure, so that a person might see it in either.
    """
    size = labels.layout.pixels
    across, down = one.center
    near = size / 32
    sides = {"left": across < size / 2 + near, "right": across > size / 2 - near,
             "upper": down < size / 2 + near, "lower": down > size / 2 - near}
    return all(inside for side, inside in sides.items() if side in where.split())


def _named(one: Instance) -> str:
    return f"{one.color} {load_catalog().things[one.kind].noun}".strip()


def _on(labels: Labels, one: Instance) -> str:
    ground = ground_of(labels, one)
    return f" on {with_article(load_catalog().covers[ground].noun)}" if ground in SAID_GROUNDS else ""


def _where(labels: Labels, one: Instance) -> str:
    where = side_of([one], labels.layout.pixels)
    return f" {where}" if where else " in the middle" if _central(labels, one) else ""


def _central(labels: Labels, one: Instance) -> bool:
    size = labels.layout.pixels
    return all(abs(each - size / 2) <= size / 8 for each in one.center)
