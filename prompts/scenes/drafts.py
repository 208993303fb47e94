"""First drafts of what images of a class can show, from its captions or from its name alone, for people to edit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from terrasynth.prompts.scenes.lexicon import Lexicon, lexicon_of, noun_forms
from terrasynth.prompts.scenes.ontology import MEASURE, PROFILES, UNCOUNTED, load_ontology
from terrasynth.prompts.scenes.scene import NUMBERS, Scene, SceneObject
from terrasynth.prompts.scenes.statements import NounPhrase, Statement, read
from terrasynth.prompts.scenes.wording import concepts, singular, spoken_name, words

MOST_OBJECTS, MOST_CHOICES, MOST_WORDS = 8, 6, 8
LEAST_SHARE, LEAST_IMAGES = 0.05, 2
"""An object is drafted that captions of so many of a class's images name."""

HARDLY = 0.005  # of all mentions
NOTHING = ""
ONE, SEVERAL, MASS = "one", "several", "mass"
_COUNTS = {ONE: {"a": 3, "two": 1, "several": 1}, SEVERAL: {"several": 2, "many": 1, "some": 1}, MASS: {NOTHING: 1}}


@dataclass(frozen=True)
class Nouns:
    """What is known of nouns by all profiles.

    Attributes:
        plurals: Singular -> plural.
        mass: Those without a plural.
        plural_only: Those without a singular.
        surroundings: Land cover, which lies around things.
    """

    plurals: Mapping[str, str]
    mass: frozenset[str]
    plural_only: frozenset[str]
    surroundings: frozenset[str]


@dataclass(frozen=True)
class Draft:
    """A class, drafted.

    Attributes:
        name: How prompts call it.
        objects: By role, as an ontology's YAML has them.
        conditions: How often captions say each condition of the whole image.
        views: How often captions say what took the image.
        captions: Captions that it was drafted from.
        unplaced: Words that the captions of many images have and the draft has not, the most frequent first.
        nouns: Nouns that it needs.
        mass: The one of them that its name makes a mass noun, if any.
    """

    name: str
    objects: Mapping[str, Mapping[str, Any]]
    conditions: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    captions: int = 0
    unplaced: Sequence[str] = ()
    nouns: Sequence[str] = ()
    mass: Sequence[str] = ()


def draft(label: str, captions: Iterable[Sequence[str]] = ()) -> Draft:
    """What captions say of the images of a class; without captions, its name.

    Args:
        label: The class, which may be any text.
        captions: Those of each of its images.

    Example:
        >>> from terrasynth.prompts.scenes.drafts import draft
        >>> made = draft("WindTurbine", [["Two white wind turbines with some trees."], ["A wind turbine near trees."]])
        >>> made.name, made.objects["main"]["count"], list(made.objects)
        ('wind turbine', {'a': 1, 'two': 1}, ['main', 'tree'])
    """
    name = spoken_name(label)
    noun, kind = _main_noun(name)
    lexicon = lexicon_of(label, Scene(label, (SceneObject("main", noun),)))
    tally = _Tally(noun, lexicon)
    images = 0
    for own in captions:
        images += 1
        tally.add([read(caption, lexicon) for caption in own])
    counts = _fitting(noun, tally.counts[noun], kind == MASS)
    main = {"noun": noun, "count": counts or _COUNTS[kind], **tally.looks_and_state(noun)}
    objects: dict[str, Mapping[str, Any]] = {"main": main}
    least = max(LEAST_IMAGES, LEAST_SHARE * images)
    seen = [one for one, count in _most(tally.images, len(tally.images)) if one != noun and count >= least]
    for other in seen[:MOST_OBJECTS]:
        objects[other] = tally.object_of(other, images)
    placed = concepts(" ".join([name, *_words_of(objects)]))
    unplaced = [word for word, count in _most(tally.unknown, len(tally.unknown))
                if count >= least and word not in placed]
    return Draft(name, objects, tally.conditions, tally.views, tally.captions, unplaced[:MOST_WORDS],
                 [noun, *seen[:MOST_OBJECTS]], [noun] if kind == MASS else [])


@lru_cache
def known_nouns() -> Nouns:
    """The nouns of all profiles."""
    plurals: dict[str, str] = {}
    mass, plural_only, surroundings = set[str](), set[str](), set[str]()
    for profile in PROFILES:
        ontology = load_ontology(profile)
        plurals = {**ontology.countable, **plurals}
        mass |= set(ontology.mass)
        plural_only |= set(ontology.plural_only)
        surroundings |= {noun for spec in ontology.classes.values() for thing in spec.objects.values()
                         if thing.surroundings for noun in thing.noun}
    return Nouns(plurals, frozenset(mass - plurals.keys()), frozenset(plural_only - plurals.keys()),
                 frozenset(surroundings))


def _main_noun(name: str) -> tuple[str, str]:
    """The noun of a class's name in the singular, and how it is counted."""
    known = known_nouns()
    *before, last = name.split()
    for noun in (name, last):
        if noun in known.mass:
            return name, MASS
    if name in known.plurals:
        return name, ONE
    one = {many: single for single, many in known.plurals.items()}.get(last, singular(last) if len(last) > 3 else last)
    return (name, ONE) if one == last or not name.isascii() else (" ".join([*before, one]), SEVERAL)


class _Tally:
    """What captions of a class say, counted."""

    def __init__(self, main: str, lexicon: Lexicon) -> None:
        self._main, self._lexicon = main, lexicon
        self._single = {many: one for one, many in known_nouns().plurals.items()}
        self._single |= {form: main for form in noun_forms(main)}
        self.captions = 0
        self.images = Counter[str]()
        self.mentions = Counter[str]()
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._looks: dict[str, Counter[str]] = defaultdict(Counter)
        self._states: dict[str, Counter[str]] = defaultdict(Counter)
        self._relations: dict[str, Counter[str]] = defaultdict(Counter)
        self.conditions, self.views, self.unknown = Counter[str](), Counter[str](), Counter[str]()

    def add(self, said: Sequence[Statement]) -> None:
        """Take in what the captions of one image say."""
        here, unknown = set[str](), set[str]()
        for statement in said:
            self.captions += 1
            for thing in statement.things:
                if not thing.absent:
                    here.add(self._take(thing, unknown))
            for claim in statement.claims:
                if claim[0] == "state":
                    self._states[self._one(claim[1])][claim[2]] += 1
                elif claim[0] == "relation" and self._one(claim[3]) == self._main:
                    self._relations[self._one(claim[1])][claim[2]] += 1
                elif claim[0] == "condition":
                    self.conditions[claim[1]] += 1
                elif claim[0] == "view":
                    self.views[claim[1]] += 1
                elif claim[0] == "word":
                    unknown |= concepts(claim[2])
        self.images.update(here)
        self.unknown.update(unknown)

    def object_of(self, noun: str, images: int) -> dict[str, Any]:
        """An object beside the main one, as YAML has it."""
        around = noun in known_nouns().surroundings or noun in known_nouns().mass
        relation = dict(_most(self._relations[noun], MOST_CHOICES)) or {"around" if around else "near": 1}
        found: dict[str, Any] = {"noun": noun}
        if count := _fitting(noun, self.counts[noun], noun in known_nouns().mass):
            found["count"] = count
        found |= self.looks_and_state(noun) | {"relation": relation}
        found["chance"] = min(1.0, round(max(LEAST_SHARE, self.images[noun] / images), 2))
        return found | ({"surroundings": True} if around else {})

    def looks_and_state(self, noun: str) -> dict[str, Any]:
        """How an object looks and is, as often as captions say it."""
        found: dict[str, Any] = {}
        if looks := self._with_nothing(self._looks[noun], noun):
            found["attributes"] = [looks]
        if states := self._with_nothing(self._states[noun], noun):
            found["state"] = states
        return found

    def _with_nothing(self, said: Counter[str], noun: str) -> dict[str, int]:
        kept = dict(_most(said, MOST_CHOICES))
        return {NOTHING: max(1, self.mentions[noun] - sum(kept.values())), **kept} if kept else {}

    def _take(self, thing: NounPhrase, unknown: set[str]) -> str:
        noun = self._one(thing.noun)
        self.mentions[noun] += 1
        count = "a" if thing.words[:1] == ("a",) else NOTHING
        for said in thing.looks:
            entry = self._lexicon.entry(tuple(said.split()))
            if entry is None:
                unknown |= concepts(said)
            elif entry.kind == "amount":
                count = said
            else:
                self._looks[noun][said] += 1
        self.counts[noun][count] += 1
        return noun

    def _one(self, noun: str) -> str:
        return self._single.get(noun, noun)


def _fitting(noun: str, counts: Counter[str], mass: bool) -> dict[str, int]:
    """The counts that a noun can have."""
    kept = _most(counts, MOST_CHOICES)
    if mass:
        kept = [(count, times) for count, times in kept if count in UNCOUNTED or count.endswith(MEASURE)]
    if noun in known_nouns().plural_only:
        kept = [(count, times) for count, times in kept if NUMBERS.get(count) != 1]
    return dict(kept)


def _most(counts: Counter[str], number: int) -> list[tuple[str, int]]:
    """The most frequent ones without those that hardly ever come; of equal ones the first by name."""
    least = HARDLY * counts.total()
    return sorted(((one, times) for one, times in counts.items() if times >= least),
                  key=lambda item: (-item[1], item[0]))[:number]


def _words_of(objects: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """All words that objects can say."""
    found: list[str] = []
    for thing in objects.values():
        found.append(thing["noun"])
        for choice in (thing.get("count", {}), *thing.get("attributes", ()), thing.get("state", {}),
                       thing.get("relation", {})):
            found += [word for said in choice for word in words(said)]
    return found
