"""What is true of the labeled things of a layout: how many there are, their colors, sides, grounds and relations.

All of it can be checked on the labels alone. With W the image's side in pixels and a thing's center that of its upright
box: it is in the left half if its center lies left of W / 2 - W / 64, and so on for the other halves; it is left of
another if its box ends before the other's begins; it is next to another if the gap between their boxes, along either
axis, is 8 m at most. It is on the cover that lies under most of its pixels. What is said of a kind is true of each one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from terrasynth.prompts.layouts.catalog import load_catalog, same_kind
from terrasynth.prompts.layouts.labels import Instance, Labels

NEXT = 8.0  # meters between boxes of things that are next to each other
SLACK = 64  # a side of the image over this is how far from the middle a center has to be
LEAST_COVER = 0.04  # of the image, or a cover is not spoken of
MOVING = ("car", "truck", "bus", "airplane")
SAID_GROUNDS = ("road", "motorway", "parking", "apron", "runway")
SIDES = {("left", ""): "in the left half", ("right", ""): "in the right half",
         ("", "upper"): "in the upper half", ("", "lower"): "in the lower half",
         ("left", "upper"): "in the upper left", ("right", "upper"): "in the upper right",
         ("left", "lower"): "in the lower left", ("right", "lower"): "in the lower right"}
RELATIONS = ("to the left of", "to the right of", "above", "below", "next to")
Sort = Literal["color", "side", "ground", "relation", "absent", "cover"]


@dataclass(frozen=True)
class Fact:
    """Something that is true of all labeled things of a kind, or of the image.

    Attributes:
        sort: What it is about.
        kind: The kind of thing; "" for the image.
        value: The color, the side, the relation, or the cover.
        other: The kind to which a relation holds, else "".
    """

    sort: Sort
    kind: str
    value: str
    other: str = ""


def side_of(things: Sequence[Instance], size: int) -> str:
    """The smallest side of the image in which all of them lie, in words; "" for none."""
    low, high = size / 2 - size / SLACK, size / 2 + size / SLACK
    across, down = [one.center[0] for one in things], [one.center[1] for one in things]
    horizontal = "left" if max(across) < low else "right" if min(across) > high else ""
    vertical = "upper" if max(down) < low else "lower" if min(down) > high else ""
    return SIDES.get((horizontal, vertical), "")


def holds(one: Instance, relation: str, other: Instance, gsd: float) -> bool:
    """Whether a thing lies so to another (see the module).

    Raises:
        ValueError: The relation is none of `RELATIONS`.
    """
    left, top, right, bottom = one.box
    other_left, other_top, other_right, other_bottom = other.box
    if relation == "to the left of":
        return right <= other_left
    if relation == "to the right of":
        return left >= other_right
    if relation == "above":
        return bottom <= other_top
    if relation == "below":
        return top >= other_bottom
    if relation == "next to":
        return max(left - other_right, other_left - right, top - other_bottom, other_top - bottom) * gsd <= NEXT
    raise ValueError(f"relation {relation!r} is none of {', '.join(RELATIONS)}")


def ground_of(labels: Labels, one: Instance) -> str:
    """The cover under most of a thing's pixels; "" where none is under more than half."""
    shares = labels.ground_of(one)
    cover = max(shares, key=lambda name: shares[name])
    return cover if shares[cover] > 0.5 else ""


def absent_kinds(labels: Labels) -> tuple[str, ...]:
    """Those of `Layout.kinds` of which the image shows nothing, however small.

    Example:
        >>> from terrasynth.prompts.layouts.facts import absent_kinds
        >>> from terrasynth.prompts.layouts.labels import Labels
        >>> from terrasynth.prompts.layouts.layout import Layout
        >>> absent_kinds(Labels(Layout("ship", side=64.0, gsd=1.0, ground="water", kinds=("ship", "boat"))))
        ('ship', 'boat')
    """
    things = labels.layout.things
    there = {one.kind for one in labels.instances} | {things[place].kind for place in labels.too_small}
    return tuple(kind for kind in dict.fromkeys(labels.layout.kinds) if not any(same_kind(kind, one) for one in there))


def facts(labels: Labels) -> list[Fact]:
    """All facts of a layout, in a fixed order.

    Example:
        >>> from terrasynth.prompts.layouts.facts import facts
        >>> from terrasynth.prompts.layouts.labels import Labels
        >>> from terrasynth.prompts.layouts.layout import Layout, Thing
        >>> car = Thing("car", x=20.0, y=12.0, heading=90.0, length=4.5, width=2.0, color="white")
        >>> labels = Labels(Layout("parkinglot", side=64.0, gsd=0.5, ground="parking", things=(car,)))
        >>> [(fact.sort, fact.value) for fact in facts(labels) if fact.kind == "car"]
        [('color', 'white'), ('side', 'in the upper left'), ('ground', 'parking')]
    """
    size = labels.layout.pixels
    found = []
    groups = {kind: labels.of(kind) for kind in labels.counts}
    for kind, things in groups.items():
        colors = {one.color for one in things}
        if len(colors) == 1 and "" not in colors and len(load_catalog().things[kind].colors) > 1:
            found.append(Fact("color", kind, *colors))
        if side := side_of(things, size):
            found.append(Fact("side", kind, side))
        grounds = {ground_of(labels, one) for one in things} if kind in MOVING else set()
        if len(grounds) == 1 and grounds <= set(SAID_GROUNDS):
            found.append(Fact("ground", kind, *grounds))
    found += _relations(labels, groups)
    found += [Fact("absent", kind, "") for kind in absent_kinds(labels)]
    found += [Fact("cover", "", cover) for cover, share in labels.covers().items() if share >= LEAST_COVER]
    return found


def _relations(labels: Labels, groups: dict[str, list[Instance]]) -> Iterator[Fact]:
    """Relations of all things of a kind to all of another, or to one of it where they are next to each other."""
    gsd = labels.layout.gsd
    few = {kind: things for kind, things in groups.items() if len(things) <= 12}
    for kind, things in few.items():
        for other, targets in few.items():
            if same_kind(kind, other):
                continue
            for relation in RELATIONS[:4]:
                if all(holds(a, relation, b, gsd) for a in things for b in targets):
                    yield Fact("relation", kind, relation, other)
            if len(targets) == 1 and all(holds(one, "next to", targets[0], gsd) for one in things):
                yield Fact("relation", kind, "next to", other)
