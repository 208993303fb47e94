"""A second reader of what is said of layouts: it parses sentences by regular expressions and checks them on the masks.

It shares the catalog's nouns with the code that writes them, and nothing else: boxes and centers come from the instance
mask, grounds from the cover mask.
"""

from __future__ import annotations

import re

import numpy as np

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.labels import Labels

CATALOG = load_catalog()
NUMBERS = {word: number for number, word in enumerate(
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"])}
FORMS = {form: kind for kind, spec in CATALOG.things.items() for form in (spec.noun, spec.plural)}
COLORS = "|".join(sorted({color for spec in CATALOG.things.values() for color in spec.colors}))
NOUNS = "|".join(sorted(FORMS, key=len, reverse=True))
COVERS = {}
for _name, _spec in CATALOG.covers.items():
    COVERS.setdefault(_spec.noun, []).append(_name)
SIDES = r"in the (?:upper|lower) (?:left|right)|in the (?:left|right|upper|lower) half"
PHRASE = re.compile(
    rf"\b(?P<count>{'|'.join(NUMBERS)}|many|no)(?: (?P<color>{COLORS}))? (?P<noun>{NOUNS})\b"
    rf"(?: (?P<side>{SIDES})"
    rf"|(?: on (?:an?|the) (?P<ground>{'|'.join(sorted(COVERS, key=len, reverse=True))}))"
    rf"|(?: (?P<how>to the left of|to the right of|above|below|next to) the (?P<other>{NOUNS})))?")


class Seen:
    """A labeled thing as the masks show it."""

    def __init__(self, labels: Labels, number: int) -> None:
        rows, columns = np.nonzero(labels.mask == number)
        self.pixels = len(rows)
        self.left, self.top, self.right, self.bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        self.x, self.y = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        # of which class, the semantic mask says; what color, the layout
        (value,) = set(labels.semantic[rows, columns].tolist())
        self.kind = CATALOG.classes[value]
        self.color = labels.layout.things[labels.instances[number - 1].thing].color
        below = np.bincount(labels.cover[rows, columns], minlength=1)
        self.ground = CATALOG.classes[int(below.argmax())] if below.max() * 2 > self.pixels else ""


def seen(labels: Labels) -> list[Seen]:
    return [Seen(labels, number) for number in range(1, int(labels.mask.max()) + 1)]


def of(things: list[Seen], kind: str) -> list[Seen]:
    return [one for one in things if kind in (one.kind, CATALOG.things[one.kind].like)]


def inside(one: Seen, side: str, size: int) -> bool:
    """Whether a center lies in a side, in words."""
    tests = {"left": one.x < size / 2, "right": one.x > size / 2, "upper": one.y < size / 2, "lower": one.y > size / 2}
    return all(tests[word] for word in side.split() if word in tests)


def lies(one: Seen, how: str, other: Seen, gsd: float) -> bool:
    if how == "next to":
        gap = max(one.left - other.right, other.left - one.right, one.top - other.bottom, other.top - one.bottom)
        return gap * gsd <= 8
    return {"to the left of": one.right <= other.left, "to the right of": one.left >= other.right,
            "above": one.bottom <= other.top, "below": one.top >= other.bottom}[how]


def wrong(caption: str, labels: Labels, things: list[Seen]) -> list[str]:
    """What a caption says that is not so; what is left of it when all claims are read must claim nothing."""
    found, size = [], labels.layout.pixels
    said = caption[0].lower() + caption[1:]
    for match in PHRASE.finditer(said):
        kind = FORMS[match["noun"]]
        own = of(things, kind)
        if match["count"] == "no":
            if own or of_small(labels, kind):
                found.append(f"no {kind}, but {len(own)}")
            continue
        count = NUMBERS.get(match["count"])
        if len(own) != count if count is not None else len(own) < 13:
            found.append(f"{match['count']} {kind}, but {len(own)}")
        if match["color"] and {one.color for one in own} != {match["color"]}:
            found.append(f"{match['color']} {kind}")
        if match["side"] and not all(inside(one, match["side"], size) for one in own):
            found.append(f"{kind} {match['side']}")
        if match["ground"] and not {one.ground for one in own} <= set(COVERS[match["ground"]]):
            found.append(f"{kind} on {match['ground']}")
        if match["how"]:
            others = of(things, FORMS[match["other"]])
            if not others or not all(lies(a, match["how"], b, labels.layout.gsd) for a in own for b in others):
                found.append(f"{kind} {match['how']} {match['other']}")
    rest = PHRASE.sub("", said)
    found += [f"unread {word!r}" for word in (*NUMBERS, "many", "no", "half", "above the")
              if re.search(rf"\b{word}\b", rest)]
    for noun, covers in COVERS.items():
        name = labels.layout.label if noun not in ("parking lot", "freeway", "railway") else noun
        if re.search(rf"(?:, |and |with |: |showing |^)(?:an? )?{noun}(?:,| and|\.| in )", rest) and name != noun and \
                not np.isin(labels.cover, [CATALOG.value(cover) for cover in covers]).any():
            found.append(f"cover {noun}")
    return found


def of_small(labels: Labels, kind: str) -> list[int]:
    things = labels.layout.things
    return [place for place in labels.too_small if things[place].kind == kind]


def fitting(text: str, labels: Labels, things: list[Seen]) -> list[int]:
    """The numbers of all things that an expression is true of."""
    size, gsd = labels.layout.pixels, labels.layout.gsd
    match = re.fullmatch(
        rf"the (?:(?P<most>leftmost|rightmost|topmost|bottommost|largest|smallest) )?(?:(?P<color>{COLORS}) )?"
        rf"(?P<noun>{NOUNS})(?: (?P<side>{SIDES})| (?P<how>.+?) the (?P<other>{NOUNS}))?", text)
    assert match, text
    every = list(enumerate(things, 1))
    kind = FORMS[match["noun"]]
    group = [(number, one) for number, one in every if kind in (one.kind, CATALOG.things[one.kind].like)
             and match["color"] in (None, one.color)]
    if match["side"]:
        group = [(number, one) for number, one in group if inside(one, match["side"], size)]
    if match["how"]:
        others = of(things, FORMS[match["other"]])
        assert len(others) == 1, text
        group = [(number, one) for number, one in group if lies(one, match["how"], others[0], gsd)]
    if match["most"]:
        key = {"leftmost": lambda one: one.x, "rightmost": lambda one: -one.x, "topmost": lambda one: one.y,
               "bottommost": lambda one: -one.y, "largest": lambda one: -one.pixels,
               "smallest": lambda one: one.pixels}[match["most"]]
        best = min(key(one) for _, one in group)
        group = [(number, one) for number, one in group if key(one) == best]
    return [number for number, _ in group]
