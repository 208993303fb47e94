"""The YAML file of a drafted ontology, with comments for whoever edits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from terrasynth.prompts.scenes.drafts import NOTHING, Draft, draft, known_nouns
from terrasynth.prompts.scenes.ontology import ClassSpec, Ontology, load_ontology
from terrasynth.prompts.scenes.own_ontology import BASE, entry_alone
from terrasynth.prompts.scenes.wording import find_label, plural

VIEWS = {"aerial image": 1, "satellite image": 1}
ANYWHERE = {"image from above": 1}  # where no sensor of the profile sees at such a resolution
KEYS = ("noun", "count", "attributes", "state", "relation", "chance", "surroundings", "gsd")
HEAD = """\
# What images of your classes can show, for the expander `grammar`: edit it. `terrasynth init` drafted it from
# {source};
# it knows no more than that.
# Texts say what stands here and nothing else; the more stands here, the more they differ. A number after a word is how
# often it is said beside its neighbors; "" is "nothing said". docs/own-classes.md explains every key.
"""
CLASSES = """
# By label. `main` is what a class is about; give its further things a name of your own, as here the trees:
#     trees: {noun: tree, count: {some: 2, many: 1}, attributes: [{"": 1, green: 1}], relation: {around: 1},
#             surroundings: true, chance: 0.5}
classes:
"""


@dataclass(frozen=True)
class ClassData:
    """What is known of a class.

    Attributes:
        captions: Those of each of its images; empty without.
        gsd: Meters a pixel of its images, as far as they are known.
    """

    captions: Sequence[Sequence[str]] = ()
    gsd: Sequence[float] = ()


@dataclass(frozen=True)
class DraftedFile:
    """A drafted ontology.

    Attributes:
        text: The YAML file.
        known: Classes whose entries are those of the profile `open`.
        nameless: Classes whose label has no letter, so that nothing says what they show.
    """

    text: str
    known: tuple[str, ...]
    nameless: tuple[str, ...]


def drafted_file(classes: Mapping[str, ClassData]) -> DraftedFile:
    """An ontology for classes; the same classes give the same bytes.

    Args:
        classes: By label, in order.

    Example:
        >>> from terrasynth.prompts.scenes.draft_text import ClassData, drafted_file
        >>> made = drafted_file({"solar farm": ClassData(), "Forest": ClassData()})
        >>> made.known, "countable: {solar farm: solar farms}" in made.text
        (('Forest',), True)
    """
    base = load_ontology(BASE)
    known = {label: found for label in classes if (found := find_label(label, base.classes, base))}
    drafts = {label: draft(label, data.captions) for label, data in classes.items() if label not in known}
    gsd = sorted({round(each, 3) for data in classes.values() for each in data.gsd})
    captions = sum(one.captions for one in drafts.values())
    images = sum(len(classes[label].captions) for label in drafts)
    source = (f"{captions:,} captions of {images:,} images" if captions else
              "the names of your classes, since there are no captions" if drafts else
              "the entries that TerraSynth has for your classes")
    source += f", and the entries that TerraSynth has for {len(known)} of them" if known and drafts else ""
    parts = [HEAD.format(source=source), "".join(_common(drafts.values(), base, gsd))]
    parts.append(CLASSES + "\n".join(
        _known_entry(label, known[label], base.classes[known[label]], gsd) if label in known
        else _entry(label, drafts[label], data.gsd) for label, data in classes.items()))
    nameless = tuple(label for label in drafts if not any(sign.isalpha() for sign in label))
    return DraftedFile("".join(parts), tuple(known), nameless)


def _common(drafts: Iterable[Draft], base: Ontology, gsd: Sequence[float]) -> Iterator[str]:
    """What all classes share: distances, conditions, and the nouns that the profile lacks."""
    conditions, views, captions, nouns, mass = Counter[str](), Counter[str](), 0, list[str](), list[str]()
    for one in drafts:
        conditions += one.conditions
        views += one.views
        captions += one.captions
        nouns += one.nouns
        mass += one.mass
    why = "as your data say" if gsd else "none, since nothing says what your images have; for instance [0.3, 0.5]"
    yield f"gsd: {flow(gsd)}   # meters a pixel that texts may say: {why}\n"
    seen = {kind: {said: conditions[said] for said in weights if conditions[said]}
            for kind, weights in base.conditions.items()}
    seen["sensor"] = {said: views[said] for said in base.conditions["sensor"] if views[said]}
    spans = base.sensor_gsd.values()
    visible = all(any(least <= metres <= most for least, most in spans) for metres in gsd)
    yield "conditions:   # what may be said of the whole image\n"
    for kind, found in seen.items():
        if kind == "sensor":
            weights = (found or VIEWS) if visible else ANYWHERE
        else:
            weights = {NOTHING: max(1, captions - sum(found.values())), **found}
        some = [said for said in base.conditions[kind] if said and said not in weights][:3]
        yield f"  {kind}: {flow(weights)}   # for instance {', '.join(some)}\n"
    known = known_nouns()
    mass = [noun for noun in dict.fromkeys([*mass, *(noun for noun in nouns if noun in known.mass)])
            if noun not in base.mass]
    plural_only = [noun for noun in dict.fromkeys(nouns) if noun in known.plural_only]
    countable = {noun: known.plurals.get(noun) or (plural(noun) if noun.isascii() else noun)
                 for noun in dict.fromkeys(nouns)
                 if noun not in base.countable and noun not in (*mass, *base.mass, *plural_only)}
    yield f"countable: {flow(countable)}   # singular and plural of nouns that TerraSynth does not know\n"
    yield f"plural_only: {flow(plural_only)}   # those without a singular\n"
    yield f"mass: {flow(mass)}   # those without a plural, as `farmland`\n"


def _entry(label: str, one: Draft, gsd: Sequence[float]) -> str:
    lines = [f"  {flow(label)}:"]
    if not any(sign.isalpha() for sign in label):
        lines.append("    # nothing says what this class shows: put its name here, in synonyms, noun and countable")
    if one.unplaced:
        lines.append(f"    # said of many images, and in no line below: {', '.join(one.unplaced)}")
    lines += [f"    name: {flow(one.name)}", f"    synonyms: {flow([one.name])}"]
    if gsd:
        lines.append(f"    gsd: {flow([round(min(gsd), 3), round(max(gsd), 3)])}")
    return "\n".join([*lines, *_objects(one.objects)]) + "\n"


def _known_entry(label: str, called: str, spec: ClassSpec, gsd: Sequence[float]) -> str:
    """The entry that TerraSynth has, spelled out so that it can be edited."""
    entry = entry_alone(spec, list(gsd))
    lines = [f"  {flow(label)}:   # what TerraSynth knows of {called}; change what your images do not show"]
    lines += [f"    {key}: {flow(entry[key])}" for key in ("name", "synonyms", "gsd") if key in entry]
    return "\n".join([*lines, *_objects(entry["objects"])]) + "\n"


def _objects(objects: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "    objects:"
    for role, thing in objects.items():
        yield f"      {flow(role)}:"
        for key in (key for key in KEYS if key in thing):
            alone = key == "noun" and isinstance(thing[key], Mapping) and [*thing[key].values()] == [1]
            yield f"        {key}: {flow(next(iter(thing[key])) if alone else thing[key])}"


def flow(value: object) -> str:
    """Plain data as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if value == NOTHING:
        return '""'
    text: str = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip()[1:-1]
