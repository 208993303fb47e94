"""Sentences about a layout, and the scene that they say: nothing in them is not true of its labeled things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.facts import Fact, facts
from terrasynth.prompts.layouts.labels import Labels
from terrasynth.prompts.layouts.rules.classes import FAMILIES
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.scene import NUMBERS, Relation, Scene, SceneObject
from terrasynth.prompts.scenes.wording import spoken_name

WORDS = {number: word for word, number in NUMBERS.items() if word not in ("a", "no")}
MANY = 13
"""From so many on, things are "many"; below, their number is said."""
MOST_KINDS = 3
VIEWS = ("", "", "aerial image", "satellite image", "overhead view")
# Areas of which one says that things are in them; a freeway or a lake only has them.
INSIDE = frozenset({
    "denseresidential", "mediumresidential", "sparseresidential", "residential", "mobilehomepark", "commercial",
    "industrial", "parkinglot", "harbor", "park", "forest", "airport", "playground", "meadow",
})


@dataclass(frozen=True)
class Item:
    """What is said of the things of a kind.

    Attributes:
        number: How many there are.
        color: Of all of them, or "".
        side: Where all of them lie, or "".
        ground: The cover that all of them are on, or "".
        relation: How all of them lie to another kind, or "".
        other: That kind.
    """

    kind: str
    number: int
    color: str = ""
    side: str = ""
    ground: str = ""
    relation: str = ""
    other: str = ""


@dataclass(frozen=True)
class Said:
    """What is said of a layout.

    Attributes:
        label: Its class.
        items: Kinds of things that are there, the most important one first.
        absent: A kind that is not there, or "".
        cover: A land cover that is there, or "".
        season: When in the year, or "".
        light: Sun and haze, or "".
        view: What the image is called, or "".
    """

    label: str
    items: tuple[Item, ...]
    absent: str = ""
    cover: str = ""
    season: str = ""
    light: str = ""
    view: str = ""


def choose(labels: Labels, draws: Draws) -> Said:
    """What is to be said of a layout: up to three kinds of things, each with its number and at most two facts."""
    layout, known = labels.layout, facts(labels)
    counts = labels.counts
    family = FAMILIES.get(layout.label)
    first = [kind for kind in (family.needs if family else ()) if kind in counts]
    others = [kind for kind in counts if kind not in first]
    # What is named stands before what is not, and relations need two.
    kinds = [*first, *draws.shuffled(others)][:MOST_KINDS if draws.chance(0.6) else 2]
    own = spoken_name(layout.label)
    telling = [fact for fact in known if fact.sort != "ground" or load_catalog().covers[fact.value].noun != own]
    items = tuple(_item(kind, counts, [fact for fact in telling if fact.kind == kind], kinds, draws) for kind in kinds)
    gone = [fact.kind for fact in known if fact.sort == "absent"]
    absent = draws.pick(gone) if gone and (not items or draws.chance(0.15)) else ""
    used = {own, *(load_catalog().covers[item.ground].noun for item in items if item.ground)}
    covers = [fact.value for fact in known
              if fact.sort == "cover" and load_catalog().covers[fact.value].noun not in used]
    cover = draws.pick(covers) if covers and (not items or draws.chance(0.3)) else ""
    return Said(layout.label, items, absent, cover, layout.season if draws.chance(0.7) else "",
                layout.light if draws.chance(0.7) else "", draws.pick(VIEWS))


def captions(said: Said, draws: Draws, count: int = 5) -> list[str]:
    """Different sentences; the first says everything, later ones may say less, and none says more."""
    forms = _forms(said)
    found = [_sentence(said, draws.pick(forms))]
    for attempt in range(count * 6):
        if len(found) == count:
            break
        less = said if attempt < 2 else _less(said, draws)
        sentence = _sentence(less, draws.pick(_forms(less)))
        if sentence not in found:
            found.append(sentence)
    return found


def scene_of(said: Said) -> Scene:
    """The scene that is said."""
    things, relations = [SceneObject("main", spoken_name(said.label), _article(said.label))] if _named(said) else [], []
    catalog = load_catalog()
    for item in said.items:
        kind = catalog.things[item.kind]
        number = item.number if item.number < MANY else None
        looks = (item.color,) if item.color else ()
        things.append(SceneObject(item.kind, kind.noun, _count(item.number), number, looks, item.side))
        if item.ground:
            relations.append(Relation(item.kind, "on", item.ground))
            things.append(SceneObject(item.ground, catalog.covers[item.ground].noun))
        if item.relation:
            relations.append(Relation(item.kind, item.relation, item.other))
    if said.absent:
        things.append(SceneObject(f"no {said.absent}", catalog.things[said.absent].noun, "no", 0))
    if said.cover:
        things.append(SceneObject(said.cover, catalog.covers[said.cover].noun, surroundings=True))
    once = {thing.role: thing for thing in reversed(things)}
    return Scene(said.label, tuple(sorted(once.values(), key=things.index)), tuple(relations), said.season, said.light,
                 sensor=said.view)


def noun_phrase(item: Item) -> str:
    """The things of an item with their number and color: "two white airplanes"."""
    kind = load_catalog().things[item.kind]
    return " ".join(each for each in (_count(item.number), item.color, kind.noun if item.number == 1 else kind.plural)
                    if each)


def with_article(noun: str) -> str:
    """A noun with what stands before it: "an apron", "grass"."""
    if _is_mass(noun):
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _is_mass(noun: str) -> bool:
    return noun in load_ontology("open").mass or noun in ("stubble", "open ground", "rubble", "clay", "bare soil")


def _item(kind: str, counts: dict[str, int], known: Sequence[Fact], kinds: Sequence[str], draws: Draws) -> Item:
    """A kind with its number and, of what is known of it, a color and at most one place."""
    by_sort = {sort: [fact for fact in known if fact.sort == sort] for sort in ("color", "side", "ground", "relation")}
    color = by_sort["color"][0].value if by_sort["color"] and draws.chance(0.8) else ""
    relations = [fact for fact in by_sort["relation"] if fact.other in kinds[: kinds.index(kind)]]
    places = [fact for fact in (*relations, *by_sort["side"], *by_sort["ground"]) if draws.chance(0.75)]
    if not places:
        return Item(kind, counts[kind], color)
    place = draws.pick(places)
    if place.sort == "relation":
        return Item(kind, counts[kind], color, relation=place.value, other=place.other)
    if place.sort == "side":
        return Item(kind, counts[kind], color, side=place.value)
    return Item(kind, counts[kind], color, ground=place.value)


def _less(said: Said, draws: Draws) -> Said:
    """A part of what is said: relations go where their other kind goes."""
    kept = [item for place, item in enumerate(said.items) if place == 0 or draws.chance(0.6)]
    there = {item.kind for item in kept}
    items = tuple(
        Item(item.kind, item.number, item.color, item.side, item.ground,
             item.relation if item.other in there else "", item.other if item.other in there else "") for item in kept)
    return Said(said.label, items, said.absent if not items or draws.chance(0.5) else "",
                said.cover if not items or draws.chance(0.5) else "", said.season if draws.chance(0.5) else "",
                said.light if draws.chance(0.5) else "", said.view if draws.chance(0.7) else "")


def _count(number: int) -> str:
    return WORDS.get(number, "many") if number < MANY else "many"


def _named(said: Said) -> bool:
    """Whether the class's name says an area."""
    family = FAMILIES.get(said.label)
    return family is None or family.named


def _article(label: str) -> str:
    return "" if _area(label) == spoken_name(label) else "a"


def _area(label: str) -> str:
    """How the area of a class is called: "an airport", "farmland"."""
    noun = spoken_name(label)
    ontology = load_ontology("open")
    if noun in ontology.mass or noun in ontology.plural_only or noun in ontology.countable.values():
        return noun
    return with_article(noun)


def _list(said: Said) -> str:
    """The items, the cover and what is absent, joined."""
    numbers = {item.kind: item.number for item in said.items}
    catalog, parts, grounds = load_catalog(), [], set[str]()
    for item in said.items:
        place = item.side
        if item.relation:
            other = catalog.things[item.other]
            place = f"{item.relation} the {other.noun if numbers[item.other] == 1 else other.plural}"
        elif item.ground:
            noun = catalog.covers[item.ground].noun
            place = f"on the {noun}" if item.ground in grounds else f"on {with_article(noun)}"
            grounds.add(item.ground)
        parts.append(f"{noun_phrase(item)} {place}".rstrip())
    if said.cover:
        parts.append(with_article(catalog.covers[said.cover].noun))
    if said.absent:
        parts.append(f"no {catalog.things[said.absent].plural}")
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _forms(said: Said) -> list[str]:
    """The forms of a sentence in which this can be said."""
    named, listed = _named(said), bool(said.items or said.cover or said.absent)
    if not listed:
        return ["{view}{of_area}{conditions}"] if said.view else ["{area}{conditions}, seen from above"]
    if said.view:
        return ["{view}{of_area}{conditions}: {listed}", "{view}{of_area}{conditions} with {listed}",
                "{view}{of_area}{conditions} showing {listed}"]
    forms = ["{area}{conditions} with {listed}", "{area}{conditions}: {listed}"] if named else [
        "{listed}{conditions}, seen from above"]
    if not named or said.label in INSIDE:
        forms += ["there {verb} {listed}{in_area}{conditions}", "{listed}{in_area}{conditions}, seen from above"]
    return forms


def _sentence(said: Said, form: str) -> str:
    area = _area(said.label) if _named(said) else ""
    conditions = "".join(f" {each}" for each in (said.season, said.light) if each)
    one = said.items[0].number == 1 if said.items else True
    whole = form.format(
        listed=_list(said), view=with_article(said.view) if said.view else "", of_area=f" of {area}" if area else "",
        area=area, in_area=f" in {area}" if area else "", conditions=conditions, verb="is" if one else "are")
    return f"{whole[0].upper()}{whole[1:]}."
