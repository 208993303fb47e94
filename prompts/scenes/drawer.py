"""Scenes of a class, drawn from the ontology many at a time.

Every choice of an attempt has a random word of its own (`prompts.scenes.draws.random_words`), and arrays of indices are
drawn for all attempts at once. What an index means, in words and as JSON, is worked out when it first comes up, and
kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrasynth.prompts.scenes.draws import Choice, below
from terrasynth.prompts.scenes.ontology import CONDITIONS, ObjectSpec, Ontology, Weights
from terrasynth.prompts.scenes.scene import NUMBERS, Relation, SceneObject, as_json
from terrasynth.prompts.scenes.sentences import Layout, with_article

MAIN, OTHERS, AROUND = "main", ("one", "two", "three"), ("around", "around2")
SAID_CONDITIONS = ("season", "light", "place", "view", "gsd")
Indices = NDArray[np.int64]
Words = NDArray[np.uint64]
Tags = NDArray[np.uint64]
Tagger = Callable[[str], int]
_EVEN, _ONE = np.uint64(0x5555555555555555), np.uint64(1)


class Phrases(dict[int, tuple[tuple[str, ...], str]]):
    """Of an object with count and attributes, by its index: words as the layout has them, and JSON up to its state.

    Worked out when first asked for, and kept.
    """

    def __init__(self, make: Callable[[int], tuple[tuple[str, ...], str]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, number: int) -> tuple[tuple[str, ...], str]:
        return self.setdefault(number, self._make(number))


class Drawn(NamedTuple):
    """What was drawn for one object in every scene."""

    present: NDArray[np.bool_]
    phrases: Indices
    states: Indices
    relations: Indices
    tags: Tags


class Kind:
    """An object of a class: its choices, and what their indices mean.

    Attributes:
        gsd: Coarsest ground sampling distance at which it is visible, in meters a pixel.
        surroundings: It is land cover around the class's main object.
        width: Random words that it takes.
        phrases_per_noun: Phrases that its first noun has; the next noun's come after them.
        relations: Number of its relations; with the state's index s and the relation's r, `tails` has theirs at
            s * relations + r.
        tails: State and relation in words, each with a blank before it where there is any.
        state_json: The rest of the object as JSON, by the state's index.
        relation_json: Its relation as JSON, by its index; "" for none.
    """

    def __init__(self, role: str, spec: ObjectSpec, main: str, ontology: Ontology, tag: Tagger) -> None:
        self.role, self.gsd, self.surroundings = role, spec.gsd or np.inf, spec.surroundings
        self._ontology, self._chance = ontology, round(spec.chance * 2**32)
        self._choices = [_choice(one) for one in (spec.noun, spec.count, *spec.attributes)]
        self._state, self._relation = _choice(spec.state), _choice(spec.relation)
        self.width = 3 + len(self._choices)
        self.phrases_per_noun = math.prod(len(one) for one in self._choices[1:])
        self._tags = [_tags(choice.items, tag) for choice in (*self._choices, self._state, self._relation)]
        self.relations = len(self._relation)
        self.tails = [(blank(state), blank(at)) for state in self._state.items for at in self._relation.items]
        self.state_json = [f'{as_json(state)},"surroundings":{as_json(spec.surroundings)}}}'
                           for state in self._state.items]
        self.relation_json = [as_json(Relation(role, at, main).__dict__) if at else "" for at in self._relation.items]

    def draw(self, words: Words) -> Drawn:
        """Of random words (count, width)."""
        present = words[:, 0] < self._chance
        state, relation = self._state.indices(words[:, 1]), self._relation.indices(words[:, 2])
        phrase = np.zeros(len(words), np.int64)
        tags = self._tags[-2][state] | self._tags[-1][relation]
        for choice, known, column in zip(self._choices, self._tags, words[:, 3:].T, strict=False):
            index = choice.indices(column)
            phrase = phrase * len(choice) + index
            tags |= known[index]
        return Drawn(present, phrase, state, relation, tags)

    def phrases(self, layout: Layout) -> Phrases:
        """What the indices of `Drawn.phrases` mean."""
        return Phrases(lambda number: self._make(number, layout))

    def _make(self, number: int, layout: Layout) -> tuple[tuple[str, ...], str]:
        picked = []
        for choice in reversed(self._choices):
            number, index = divmod(number, len(choice))
            picked.append(choice.items[index])
        noun, count, *attributes = reversed(picked)
        said = tuple(one for one in attributes if one)
        thing = SceneObject(self.role, noun, count, NUMBERS.get(count), said)
        form, plural = self._ontology.form(noun, count)
        return (layout.words(count, " ".join(said), form, plural),
                as_json(thing.__dict__).partition('"state":')[0] + '"state":')


class Scenes(NamedTuple):
    """Scenes in bulk, N of them with K kinds of objects.

    Attributes:
        present: bool (N, K), which kinds are there.
        phrases: int64 (N, K), indices of their phrases.
        states: int64 (N, K), indices of their states.
        relations: int64 (N, K), indices of their relations.
        slots: int64 (N, slots), kind in each slot of the layout, -1 for none.
        bits: int64 (N,), slots and conditions that are filled.
        conditions: int64 (N, conditions), index of each in the order of `CONDITIONS`, -1 for one that was left out.
        gsd: int64 (N,), index of the ground sampling distance.
    """

    present: NDArray[np.bool_]
    phrases: Indices
    states: Indices
    relations: Indices
    slots: Indices
    bits: Indices
    conditions: Indices
    gsd: Indices


class SceneDrawer:
    """Draws the scenes of one class.

    Attributes:
        slots: What templates may refer to; the objects' roles, or `MAIN`, `OTHERS` and `AROUND` where sentences serve
            every class.
        said_conditions: The conditions that templates may say.
        width: Random words a scene.
        conditions: Items of each condition, in the order of `CONDITIONS`.
        gsd: Ground sampling distances that a scene of the class may have, in meters a pixel.
    """

    def __init__(self, label: str, ontology: Ontology, shared_sentences: bool) -> None:
        spec = ontology.classes[label]
        tag = _tagger(ontology.contradictions)
        main = next(iter(spec.objects))
        self.kinds = [Kind(role, thing, main, ontology, tag) for role, thing in spec.objects.items()]
        self._shared = shared_sentences
        self.slots = (MAIN, *OTHERS, *AROUND) if shared_sentences else tuple(spec.objects)
        self.said_conditions = SAID_CONDITIONS if ontology.conditions else ()
        self._conditions = [_choice(ontology.conditions.get(kind, {"": 1})) for kind in CONDITIONS]
        self._condition_tags = [_tags(one.items, tag) for one in self._conditions]
        self.conditions = [one.items for one in self._conditions]
        finest, coarsest = spec.gsd or (0.0, np.inf)
        self.gsd = [metres for metres in ontology.gsd if finest <= metres <= coarsest]
        self._sensors = [self._sensors_at(metres, ontology) for metres in self.gsd]
        kinds = range(1, len(self.kinds))
        self._others = np.array([i for i in kinds if not self.kinds[i].surroundings], np.int64)
        self._around = np.array([i for i in kinds if self.kinds[i].surroundings], np.int64)
        self._nouns = _noun_numbers(spec.objects.values())
        self.width = sum(kind.width for kind in self.kinds) + len(self.kinds) + len(CONDITIONS) + 1

    def _sensors_at(self, metres: float, ontology: Ontology) -> Choice[int]:
        weights = ontology.conditions.get("sensor", {"": 1})
        plausible = {number: weight for number, (name, weight) in enumerate(weights.items())
                     if name not in ontology.sensor_gsd
                     or ontology.sensor_gsd[name][0] <= metres <= ontology.sensor_gsd[name][1]}
        if not plausible:
            raise ValueError(f"no sensor takes images of {metres:g} m a pixel")
        return Choice(tuple(plausible), tuple(plausible.values()))

    def draw(self, words: Words) -> Scenes:
        """Scenes of random words (count, width)."""
        count, column = len(words), 0
        drawn = []
        for kind in self.kinds:
            drawn.append(kind.draw(words[:, column : column + kind.width]))
            column += kind.width
        keys = words[:, column : column + len(self.kinds)]
        column += len(self.kinds)
        gsd = below(words[:, column], max(1, len(self.gsd)))
        metres = np.array(self.gsd or [0.0])[gsd]
        conditions = self._draw_conditions(words[:, column + 1 :], gsd)
        present = self._consistent(drawn, metres, conditions)
        slots = self._fill(present, keys)
        bits = ((slots >= 0) << np.arange(slots.shape[1])).sum(1)
        if self.said_conditions:
            said = [np.array([bool(item) for item in items])[index] & (index >= 0)
                    for items, index in zip(self.conditions, conditions, strict=True)]
            said.append(np.full(count, bool(self.gsd)))
            for number, one in enumerate(said):
                bits |= one.astype(np.int64) << (slots.shape[1] + number)
        return Scenes(
            present, np.stack([one.phrases for one in drawn], 1), np.stack([one.states for one in drawn], 1),
            np.stack([one.relations for one in drawn], 1), slots, bits, np.stack(conditions, 1), gsd,
        )

    def _draw_conditions(self, words: Words, gsd: Indices) -> list[Indices]:
        found = [choice.indices(column) for choice, column in zip(self._conditions, words.T, strict=False)]
        for number, choice in enumerate(self._sensors):  # the last condition: what sees at this resolution
            here = gsd == number
            found[-1][here] = np.array(choice.items)[choice.indices(words[here, len(CONDITIONS) - 1])]
        return found

    def _consistent(self, drawn: list[Drawn], metres: NDArray[np.float64], conditions: list[Indices]
                    ) -> NDArray[np.bool_]:
        """Which kinds stay: those visible, and in no contradiction to an earlier one; conditions give way, to -1."""
        present = np.stack([one.present for one in drawn], 1)
        excluded, seen = np.zeros(len(metres), np.uint64), np.zeros(len(metres), np.uint64)
        for number, (kind, one) in enumerate(zip(self.kinds, drawn, strict=True)):
            if number:
                present[:, number] &= (metres <= kind.gsd) & ((one.tags & excluded) == 0)
            if self._shared:  # one sentence may say any two of them
                noun = _ONE << self._nouns[number][one.phrases // kind.phrases_per_noun]
                present[:, number] &= (noun & seen) == 0
                seen |= np.where(present[:, number], noun, np.uint64(0))
            excluded |= np.where(present[:, number], _opposite(one.tags), np.uint64(0))
        for index, known in zip(conditions, self._condition_tags, strict=True):
            tags = known[index]
            clash = (tags & excluded) != 0
            excluded |= np.where(clash, np.uint64(0), _opposite(tags))
            index[clash] = -1
        return present

    def _fill(self, present: NDArray[np.bool_], keys: Words) -> Indices:
        """Kind in each slot, int64 (count, slots), -1 for none."""
        if not self._shared:
            return np.where(present, np.arange(len(self.kinds)), -1)
        main = np.zeros((len(present), 1), np.int64)
        return np.concatenate([main, _pick(self._others, present, keys, len(OTHERS)),
                               _pick(self._around, present, keys, len(AROUND))], axis=1)


def _pick(kinds: Indices, present: NDArray[np.bool_], keys: Words, places: int) -> Indices:
    """As many of the kinds that are there as there are places, in random order; -1 where there are fewer."""
    picked = np.full((len(present), places), -1, np.int64)
    if len(kinds):
        order = np.argsort(np.where(present[:, kinds], keys[:, kinds], np.uint64(2**33)), axis=1, kind="stable")
        chosen = kinds[order[:, :places]]
        there = np.take_along_axis(present, chosen, axis=1)
        picked[:, : chosen.shape[1]] = np.where(there, chosen, -1)
    return picked


def _noun_numbers(specs: Iterable[ObjectSpec]) -> list[NDArray[np.uint64]]:
    """For each object, the number of each of its nouns among all nouns of the class."""
    numbers: dict[str, int] = {}
    return [np.array([numbers.setdefault(noun, len(numbers)) for noun in spec.noun], np.uint64) for spec in specs]


def blank(words: str) -> str:
    """The words with a blank before them, where there are any."""
    return f" {words}" if words else ""


def _choice(weights: Weights) -> Choice[str]:
    return Choice(tuple(weights), tuple(weights.values()))


def _tags(items: Sequence[str], tag: Tagger) -> Tags:
    return np.array([tag(item) for item in items], np.uint64)


def _tagger(contradictions: Sequence[Sequence[Sequence[str]]]) -> Tagger:
    """Bits 2i and 2i + 1 of a text: it has a phrase of the first, of the second list of contradiction i."""
    sides = [re.compile("|".join(rf"\b{re.escape(phrase)}(?:e?s)?\b" for phrase in side))
             for pair in contradictions for side in pair]
    return lambda text: sum(1 << number for number, side in enumerate(sides) if side.search(text))


def _opposite(tags: Tags) -> Tags:
    """What contradicts: every pair of bits exchanged."""
    return ((tags & _EVEN) << _ONE) | ((tags >> _ONE) & _EVEN)


def view_of(sensor: str) -> str:
    """A sensor as the subject of a sentence."""
    return with_article(sensor) if sensor else ""
