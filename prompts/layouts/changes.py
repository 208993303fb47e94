"""Pairs of before and after, from one record of what was done: layouts, change mask, captions and flag agree.

An edit names the things and the ground that it changes. The layout after is the layout before with the edit made; the
mask is where the labels of the two differ; the captions say what the edit did, and how many things. Where only season
and light differ nothing has changed: the mask is empty, and the captions say so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.facts import side_of
from terrasynth.prompts.layouts.geometry import Ring, fill, ring, smooth
from terrasynth.prompts.layouts.labels import Instance, Labels, labels_at, labels_of
from terrasynth.prompts.layouts.layout import Layout, Patch, Thing, part_of, rounded
from terrasynth.prompts.layouts.saying import WORDS
from terrasynth.prompts.scenes.draws import Draws

Doing = Literal["built", "destroyed", "flooded", "cut", "season"]
DOINGS: tuple[Doing, ...] = ("built", "destroyed", "flooded", "cut", "season")
HOMES = ("building", "house", "mobile_home")
MOST = 6  # things that one edit builds, destroys or cuts down
MOST_TREES = 12
TRIES = 240
SEASONS = ("in spring", "in summer", "in autumn")
LIGHTS = ("under a low sun", "under a high sun", "under thin haze", "on a clear day")
FREE = ("grass", "lawn", "land", "soil", "crops", "stubble", "gravel")
FLOODABLE = ("land", "grass", "lawn", "crops", "stubble", "soil", "sand", "path", "parking", "gravel", "clay")


@dataclass(frozen=True)
class Edit:
    """What is done to a layout.

    Attributes:
        doing: Buildings are built or destroyed, ground is flooded, trees are cut, or season and light alone differ.
        things: Places in `Layout.things` of what is destroyed or cut down.
        added: What is built.
        area: The outline of the ground that water comes to cover, in meters.
        season: When the image after was taken, or "" for no word of it.
        light: Its sun and haze, or "".
    """

    doing: Doing
    things: tuple[int, ...] = ()
    added: tuple[Thing, ...] = ()
    area: Ring = ()
    season: str = ""
    light: str = ""

    def to_json(self) -> str:
        """The edit as a JSON object of plain data, without what it has none of; equal edits give equal strings."""
        plain = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Edit:
        """The inverse of `to_json`.

        Raises:
            InputError: `text` is no JSON of an edit: what is wrong, and where.

        Example:
            >>> from terrasynth.prompts.layouts.changes import Edit
            >>> edit = Edit("destroyed", things=(3,))
            >>> edit.to_json(), Edit.from_json(edit.to_json()) == edit
            ('{"doing":"destroyed","things":[3]}', True)
        """
        try:
            tree: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"edit {text[:60]!r} is no JSON ({error}); write what Edit.to_json gives") from error
        if not isinstance(tree, dict) or tree.get("doing") not in DOINGS:
            raise InputError(f"edit {text[:60]!r} is no JSON object with a `doing` of {', '.join(DOINGS)}; write what "
                             "Edit.to_json gives")
        added = tree.get("added", [])
        if not isinstance(added, list):
            raise InputError(f"added {added!r:.60} of an edit has to be a list of things")
        made = [part_of(Thing, one, f"added[{place}]") for place, one in enumerate(added)]
        return part_of(cls, {**tree, "added": made}, "edit")


@dataclass(frozen=True)
class Change:
    """A pair.

    Attributes:
        before: The layout as it was.
        after: As it is.
        edit: What makes the one of the other.
        mask: bool (H, W), where labels differ.
        captions: Five ways to say what happened.
        changed: Whether anything did.
    """

    before: Layout
    after: Layout
    edit: Edit
    mask: NDArray[np.bool_]
    captions: tuple[str, ...]
    changed: bool

    def mask_at(self, side: int) -> NDArray[np.bool_]:
        """The mask in an image of so many pixels a side: bool (side, side).

        A smaller image has it where anything in a pixel differs, so that nothing that changed is lost in it.
        """
        size = self.before.pixels
        if side == size:
            return self.mask
        found = _differs(labels_at(self.before, side), labels_at(self.after, side))
        if side < size:
            rows, columns = np.nonzero(self.mask)
            found[rows * side // size, columns * side // size] = True
        return found


def pair_of(layout: str, edit: str) -> Change:
    """The pair of a layout and an edit, as prompts and data sets have them: as JSON.

    Raises:
        InputError: One of them is none, or they do not fit together.
    """
    return change(Layout.from_json(layout), Edit.from_json(edit))


def layout_after(layout: str, edit: str) -> str:
    """The layout after an edit; all three as JSON.

    Raises:
        InputError: One of them is none, or they do not fit together.
    """
    return edited(Layout.from_json(layout), Edit.from_json(edit)).to_json()


def draw_edit(layout: Layout, doing: Doing, draws: Draws) -> Edit | None:
    """Draw an edit that changes what is labeled in a layout; None where there is nothing to do it to.

    Example:
        >>> from terrasynth.prompts.layouts.changes import change, draw_edit
        >>> from terrasynth.prompts.layouts.drawing import draw_layout
        >>> from terrasynth.prompts.scenes.draws import Draws
        >>> layout = draw_layout("mediumresidential", seed=0, k=1)
        >>> pair = change(layout, draw_edit(layout, "destroyed", Draws("example")))
        >>> pair.changed, bool(pair.mask.any()), len(pair.captions)
        (True, True, 5)
    """
    return _DRAWN[doing](layout, draws)


def edited(layout: Layout, edit: Edit) -> Layout:
    """The layout with an edit made.

    Raises:
        InputError: The edit speaks of things that the layout has not, or of none.
    """
    if any(not 0 <= place < len(layout.things) for place in edit.things):
        raise InputError(f"edit names things {edit.things} of a layout that has {len(layout.things)}")
    kinds = {layout.things[place].kind for place in edit.things}
    wrong = kinds - set(HOMES) if edit.doing == "destroyed" else kinds - {"tree"} if edit.doing == "cut" else kinds
    if wrong or not (edit.things or edit.added or edit.area or edit.doing == "season"):
        raise InputError(f"edit {edit.doing!r} needs its own part (things, added or area) and no {sorted(wrong)}")
    after = layout
    if edit.doing in ("destroyed", "cut"):
        cover = "rubble" if edit.doing == "destroyed" else "soil"
        gone = [layout.things[place] for place in edit.things]
        left = tuple(one for place, one in enumerate(layout.things) if place not in edit.things)
        bare = (Patch(cover, tuple(map(tuple, one.shape.tolist())), over=True) for one in gone)
        after = replace(layout, things=left, patches=(*layout.patches, *bare))
    elif edit.doing == "built":
        after = replace(layout, things=(*layout.things, *edit.added))
    elif edit.doing == "flooded":
        after = replace(layout, patches=(*layout.patches, Patch("water", edit.area, over=True)))
    return replace(after, season=edit.season or layout.season, light=edit.light or layout.light)


def change(layout: Layout, edit: Edit) -> Change:
    """The pair that an edit makes.

    Raises:
        InputError: The edit does not fit the layout, or it says that something is done and no label differs.
    """
    after = edited(layout, edit)
    old, new = labels_of(layout), labels_of(after)
    mask = _differs(old, new)
    changed = edit.doing != "season"
    if changed is not bool(mask.any()):
        raise InputError(f"edit {edit.doing!r} changes {int(mask.sum())} labeled pixels of the layout")
    return Change(layout, after, edit, mask, tuple(_captions(edit, old, new)), changed)


def _differs(old: Labels, new: Labels) -> NDArray[np.bool_]:
    """Where another class is seen, or another thing: two houses beside each other are no one house."""
    things = dict[Thing, int]()
    of = [np.array([0, *(things.setdefault(each.layout.things[one.thing], len(things) + 1) for one in each.instances)])
          for each in (old, new)]
    found: NDArray[np.bool_] = (old.semantic != new.semantic) | (of[0][old.mask] != of[1][new.mask])
    return found


# What is said.


def _captions(edit: Edit, old: Labels, new: Labels) -> list[str]:
    if edit.doing == "season":
        said = " and ".join(name for name, value in (("season", edit.season), ("light", edit.light)) if value)
        return ["Nothing has changed between the two images.", "The two images show the same scene.",
                "There is no change on the ground.", "No building was built or destroyed.",
                f"The scene is as it was before, but for the {said}." if said else "The scene is as it was before."]
    if edit.doing == "flooded":
        return _flood_captions(new)
    labels = new if edit.doing == "built" else old
    count = len(labels.layout.things)
    places = set(range(count - len(edit.added), count) if edit.doing == "built" else edit.things)
    touched = [one for one in labels.instances if one.thing in places]
    number, kind = len(touched), load_catalog().things[touched[0].kind]
    word, noun = WORDS.get(number, str(number)), kind.noun if number == 1 else kind.plural
    what, side = f"{word} {noun}", side_of(touched, labels.layout.pixels)
    where, big = f" {side}" if side else "", what[0].upper() + what[1:]
    done = {"built": "built", "destroyed": "destroyed", "cut": "cut down"}[edit.doing]
    more = {
        "built": (f"{word[0].upper()}{word[1:]} new {noun} {'stands' if number == 1 else 'stand'} there{where}.",
                  f"The image after shows {what}{where} that the image before does not show."),
        "destroyed": (f"Rubble lies where {what} stood{where}.",
                      f"Of {what}{where} in the image before, the image after shows rubble."),
        "cut": (f"Bare soil lies where {what} stood{where}.",
                f"The image before shows {what}{where} that the image after does not show."),
    }[edit.doing]
    return [f"{big} {'was' if number == 1 else 'were'} {done}{where}.",
            f"{big}{where} {'has' if number == 1 else 'have'} been {done}.", *more,
            f"The change: {what} {done}{where}."]


def _flood_captions(new: Labels) -> list[str]:
    wet = _standing_in_water(new)
    stand = ""
    if wet:
        kind = load_catalog().things[wet[0].kind]
        number = WORDS.get(len(wet), str(len(wet)))
        stand = f"{number} {kind.noun} stands" if len(wet) == 1 else f"{number} {kind.plural} stand"
    tail = f", and {stand} in it" if stand else ""
    return [f"Water has flooded a part of the ground{tail}.", f"A flood covers ground that was dry{tail}.",
            f"Ground that was dry is under water{tail}.", f"There is a flood after, and none before{tail}.",
            f"The change: a flood{tail}."]


def _standing_in_water(labels: Labels) -> list[Instance]:
    """Buildings of one kind most of whose ground is water."""
    water = load_catalog().value("water")
    found = []
    for one in labels.instances:
        if one.kind in HOMES:
            left, top, right, bottom = one.box
            below = labels.cover[top:bottom, left:right][labels.mask[top:bottom, left:right] == one.number]
            if (below == water).mean() > 0.5:
                found.append(one)
    return found if len({one.kind for one in found}) < 2 else []


# What is drawn.


def _draw_built(layout: Layout, draws: Draws) -> Edit | None:
    """New buildings on free ground, of the kind, sizes and headings of those that are there."""
    labels = labels_of(layout)
    homes = [one for one in labels.instances if one.kind in HOMES]
    if not homes:
        return None
    catalog, names = load_catalog(), load_catalog().classes
    free = np.isin(labels.cover, [names.index(each) for each in FREE])
    free &= labels.mask == 0
    kind = draws.pick(homes).kind
    like = [layout.things[one.thing] for one in homes if one.kind == kind]
    added: list[Thing] = []
    wanted = 1 + draws.below(min(MOST, 4))
    for _ in range(TRIES):
        if len(added) == wanted:
            break
        model = draws.pick(like)
        x, y = (draws.below(10_000) / 10_000 * layout.side for _ in range(2))
        size = [min(each, most[1]) for each, most in ((model.length, catalog.things[kind].length),
                                                      (model.width, catalog.things[kind].width))]
        new = rounded(Thing(kind, x, y, model.heading, size[0], size[1], draws.pick(list(catalog.things[kind].colors))))
        wide = fill(replace(new, length=new.length + 3, width=new.width + 3).shape / layout.gsd, *free.shape)
        box = new.corners
        if wide is None or box.min() < 0 or box.max() > layout.side:
            continue
        if not free[wide.rows, wide.columns][wide.filled].all():
            continue
        free[wide.rows, wide.columns][wide.filled] = False
        added.append(new)
    return _checked(layout, Edit("built", added=tuple(added)), len(added))


def _draw_destroyed(layout: Layout, draws: Draws) -> Edit | None:
    return _draw_gone(layout, draws, "destroyed", HOMES, MOST)


def _draw_cut(layout: Layout, draws: Draws) -> Edit | None:
    return _draw_gone(layout, draws, "cut", ("tree",), MOST_TREES)


def _draw_gone(layout: Layout, draws: Draws, doing: Doing, kinds: Sequence[str], most: int) -> Edit | None:
    """Things of one kind that stand close to each other."""
    labels = labels_of(layout)
    there = [one for one in labels.instances if one.kind in kinds]
    if not there:
        return None
    first = draws.pick(there)
    alike = sorted((one for one in there if one.kind == first.kind),
                   key=lambda one: (math.dist(one.center, first.center), one.number))
    count = 1 + draws.below(min(most, len(alike)))
    return _checked(layout, Edit(doing, things=tuple(sorted(one.thing for one in alike[:count]))), count)


def _draw_flooded(layout: Layout, draws: Draws) -> Edit | None:
    """Water from one side of the image, or from the water that is there, over ground that can be flooded."""
    side = layout.side
    deep = (0.25 + draws.below(1000) / 4000) * side
    along = np.linspace(-0.1, 1.1, 7) * side
    shore = smooth(np.stack([along, [deep + (draws.below(1000) / 1000 - 0.5) * 0.2 * side for _ in along]], axis=1))
    outline = np.concatenate([shore, [[1.1 * side, -0.1 * side], [-0.1 * side, -0.1 * side]]])
    for _ in range(draws.below(4)):  # from any of the four sides
        outline = np.stack([side - outline[:, 1], outline[:, 0]], axis=1)
    edit = Edit("flooded", area=ring(outline))
    labels = labels_of(layout)
    window = fill(np.array(edit.area) / layout.gsd, *labels.cover.shape)
    dry = [load_catalog().value(each) for each in FLOODABLE]
    if window is None or not np.isin(labels.cover[window.rows, window.columns][window.filled], dry).mean() > 0.3:
        return None
    return edit


def _draw_season(layout: Layout, draws: Draws) -> Edit | None:
    """Another season and another light than those that are said of the layout."""
    return Edit("season", season=draws.pick([one for one in SEASONS if one != layout.season]),
                light=draws.pick([one for one in LIGHTS if one != layout.light]))


def _checked(layout: Layout, edit: Edit, count: int) -> Edit | None:
    """The edit, if all that it touches has a label and nothing else gains or loses one."""
    if not count:
        return None
    old, new = labels_of(layout), labels_of(edited(layout, edit))
    expected = count if edit.doing == "built" else -count
    return edit if len(new.instances) - len(old.instances) == expected else None


_DRAWN: dict[Doing, Callable[[Layout, Draws], Edit | None]] = {
    "built": _draw_built, "destroyed": _draw_destroyed, "flooded": _draw_flooded, "cut": _draw_cut,
    "season": _draw_season,
}
