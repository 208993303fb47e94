"""The phrases by which sentences about scenes are read: things, looks, states, relations, conditions, framing."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from terrasynth.prompts.scenes.ontology import PROFILES, ClassSpec, Ontology, load_ontology
from terrasynth.prompts.scenes.scene import NUMBERS, Scene
from terrasynth.prompts.scenes.wording import plural

Kind = Literal["thing", "look", "amount", "state", "relation", "condition", "view", "frame", "pause", "verb", "pronoun",
               "none", "doubt", "word"]
Tokens = tuple[str, ...]

_TOKEN = re.compile(r"[^\W_]+(?:[-.'\u2019][^\W_]+)*|[.,;:!?()]")
_TOLD: tuple[Kind, ...] = ("thing", "look", "amount", "state", "condition", "view")
"""Kinds of phrases whose words are in a claim wherever they stand."""
# Of two phrases of the same words, the kind that stands first here wins.
_ORDER: tuple[Kind, ...] = ("condition", "view", "state", "relation", "thing", "frame", "none", "doubt",
                            "pause", "verb", "pronoun", "amount", "look")

_PAUSES = (".", ",", ";", ":", "!", "(", ")", "with", "and", "while", "which", "together", "but", "that")
_VERBS = ("is", "are", "there is", "there are", "and there is", "and there are")
_PRONOUNS = ("it", "them", "they")
_NOT_LISTED = frozenset({"", "a", "an", "the", "no"})  # amounts that other kinds stand for
_NONE = (
    "no", "without", "not", "nor", "neither", "never", "none of", "zero", "lacking", "lacks", "lack", "free of",
    "empty of", "devoid of", "hardly any", "barely any", "hardly", "barely", "instead of", "rather than", "except",
    "except for", "absence of", "missing", "nothing but",
)
# With these a text leaves open what is there; nothing but the text itself then follows from it.
_DOUBTS = ("or", "either", "maybe", "perhaps", "possibly", "probably", "might", "may", "could", "if", "unless", "as if",
           "almost", "nearly", "whether", "seems", "appears", "?")
# Words and turns that carry no claim of their own: how a sentence is begun and how the image is called.
_FRAMES = (
    "a", "an", "the", "this", "these", "those", "there", "here", "of", "has", "have", "its", "also", "too", "as well",
    "and so can", "so can", "can be seen", "can be made out", "seen from above", "seen from straight above",
    "seen from directly overhead", "from above", "from above one sees", "from straight above",
    "taken from straight above", "looking straight down on", "that looks straight down on", "looks straight down on",
    "taken", "shows", "show", "showing", "and it shows", "it shows", "it also shows", "in this scene", "in the scene",
    "this scene", "the scene", "a scene", "scene", "image", "picture", "photo", "in this area", "in the area",
    "this area", "an area", "with a ground sampling distance of", "at a resolution of", "at a ground resolution of",
    "it is", "this is", "here is", "here are", "compose", "is made up of", "are made up of", "made up of",
)
# Where things lie to each other, beside what the ontologies say: words that stand in sentence templates and captions.
_RELATIONS = (
    "in", "on", "at", "by", "around", "beside", "next to", "near", "between", "over", "under", "across", "through",
    "along", "behind", "in front of", "in the middle of", "in the middle", "at the corners", "on each side",
    "on one side", "on both sides", "on either side", "all around", "inside", "outside", "into", "onto", "from", "to",
    "against", "above", "below", "among", "throughout", "surrounded by", "close to", "surround", "surrounding",
)


class Entry(NamedTuple):
    """A phrase of the lexicon.

    Attributes:
        kind: What it does in a sentence.
        value: Its words with single blanks; the name under which claims about it stand.
    """

    kind: Kind
    value: str
    length: int


class Lexicon:
    """Phrases to look for, the longest first.

    Attributes:
        subjects: Nouns of what sentences of the class are about, as they are written: what "it" and "them" stand for.
        scenes: Names of the class that none of its objects bears ("golf course"): what the whole image shows.
        phrases: Every phrase with its kind.
    """

    def __init__(self, phrases: Mapping[str, Kind], subjects: Iterable[str], scenes: Iterable[str],
                 above: Lexicon | None = None) -> None:
        """Tokenize phrases.

        Args:
            phrases: Phrase -> kind.
            above: A lexicon whose phrases count, too, and before these: what has few of its own is made at once.
        """
        self.subjects, self.scenes = frozenset(subjects), frozenset(scenes)
        self._above = above
        self.phrases: MutableMapping[str, Kind] = dict(phrases)
        if above is not None:
            self.phrases = ChainMap(above.phrases, self.phrases)
        self._entries: dict[Tokens, Entry] = {}
        self._silent = set[str]()
        lengths: dict[str, set[int]] = {}
        for phrase, kind in phrases.items():
            found = phrase_tokens(phrase)
            if found:
                self._entries[found] = Entry(kind, " ".join(found), len(found))
                own = lengths.setdefault(found[0], set() if above is None else set(above.lengths(found[0])))
                own.add(len(found))
                if kind not in _TOLD:
                    self._silent.update(found)
        self._lengths = {first: sorted(own, reverse=True) for first, own in lengths.items()}
        # Of words that begin no other phrase than themselves.
        self._alone = {first: self._entries[first,] for first, own in lengths.items() if own == {1}}

    def at(self, said: Tokens, place: int) -> Entry | None:
        """The longest phrase that stands at a place of a sentence, or None."""
        if self._above is None:  # as `lengths` and `entry` have it, in half the time
            if (entry := self._alone.get(said[place])) is not None:
                return entry
            entries = self._entries
            for length in self._lengths.get(said[place], ()):
                if (entry := entries.get(said[place : place + length])) is not None:
                    return entry
            return None
        for length in self.lengths(said[place]):
            if (entry := self.entry(said[place : place + length])) is not None:
                return entry
        return None

    def lengths(self, first: str) -> Sequence[int]:
        """How many words the phrases have that begin with a word, the longest first."""
        found = self._lengths.get(first)
        if found is None:
            return () if self._above is None else self._above.lengths(first)
        return found

    def entry(self, said: Tokens) -> Entry | None:
        """The phrase that is just these words, or None."""
        found = None if self._above is None else self._above.entry(said)
        return self._entries.get(said) if found is None else found

    def tells(self, word: str) -> bool:
        """Whether a word is part of a claim wherever it stands: no phrase has it that may go without one."""
        return word not in self._silent and (self._above is None or self._above.tells(word))

    def with_scene(self, scene: Scene) -> Lexicon:
        """This lexicon with the phrases of a scene that it lacks; itself where it lacks none."""
        known = self.phrases
        if all(phrase in known or phrase in _NOT_LISTED for phrase, _ in _of_scene(scene)):
            return self
        own: dict[str, Kind] = {phrase: kind for phrase, kind in _of_scene(scene) if phrase not in _NOT_LISTED}
        main = [form for thing in scene.objects[:1] for form in noun_forms(thing.noun)]
        return Lexicon(own, self.subjects or main, self.scenes, self)


def tokens(text: str) -> Tokens:
    """The words and marks of a text, lower-case; hyphenated words and decimals stay whole, "an" is "a"."""
    found = _TOKEN.findall(text.lower())
    return tuple(["a" if word == "an" else word for word in found] if "an" in found else found)


@lru_cache(maxsize=8192)
def phrase_tokens(phrase: str) -> Tokens:
    """`tokens` of a short text that comes often."""
    return tokens(phrase)


def lexicon_of(label: str, scene: Scene | None) -> Lexicon:
    """The lexicon for sentences of one class.

    Args:
        scene: What the sentences were written from, which tells whose words they are; None where that is not known.
    """
    profile = "" if scene is None else _profile(label, scene)
    found = _of_class(profile, label) if profile else _of_all()
    return found if scene is None else found.with_scene(scene)


@lru_cache(maxsize=4096)
def noun_forms(noun: str) -> tuple[str, ...]:
    """A noun as it is written in the singular and the plural."""
    for profile in PROFILES:
        ontology = load_ontology(profile)
        if noun in ontology.countable:
            return tuple(dict.fromkeys((noun, ontology.countable[noun])))
        if noun in ontology.mass or noun in ontology.plural_only:
            return (noun,)
    return (noun, plural(noun))


def _profile(label: str, scene: Scene) -> str:
    """The profile whose ontology wrote a scene: the one whose class has all its roles and nouns; "" for none."""
    for profile in PROFILES:
        spec = load_ontology(profile).classes.get(label)
        if spec is not None and all(thing.role in spec.objects and thing.noun in spec.objects[thing.role].noun
                                    for thing in scene.objects):
            return profile
    return ""


@lru_cache(maxsize=256)
def _of_class(profile: str, label: str) -> Lexicon:
    ontology = load_ontology(profile)
    spec = ontology.classes[label]
    main = next(iter(spec.objects.values()))
    subjects = [form for noun in main.noun for form in noun_forms(noun)]
    objects = {form for thing in spec.objects.values() for noun in thing.noun for form in noun_forms(noun)}
    scenes = {form for name in (spec.name, *spec.synonyms) for form in noun_forms(name)} - objects
    return Lexicon(_joined(_base(), _of_ontology(ontology, [spec])), subjects, scenes)


@lru_cache(maxsize=1)
def _of_all() -> Lexicon:
    phrases: dict[str, Kind] = {}
    for profile in ("open", "ucm"):  # not "rs": what is read in sentences of unknown origin must not change with it
        ontology = load_ontology(profile)
        phrases = _joined(phrases, _of_ontology(ontology, ontology.classes.values()))
    return Lexicon(_joined(_base(), phrases), (), ())


@lru_cache(maxsize=1)
def _base() -> dict[str, Kind]:
    listed: list[tuple[Iterable[str], Kind]] = [
        (_FRAMES, "frame"), (_PAUSES, "pause"), (_VERBS, "verb"), (_PRONOUNS, "pronoun"), (_NONE, "none"),
        (_RELATIONS, "relation"), (_DOUBTS, "doubt"), ([word for word in NUMBERS if word not in ("a", "no")], "amount"),
    ]
    return _joined(*({phrase: kind for phrase in phrases} for phrases, kind in listed))


def _of_ontology(ontology: Ontology, specs: Iterable[ClassSpec]) -> dict[str, Kind]:
    listed: list[tuple[Iterable[str], Kind]] = [
        ([item for kind, items in ontology.conditions.items() if kind != "sensor" for item in items], "condition"),
        (ontology.conditions.get("sensor", ()), "view"),
    ]
    for spec in specs:
        listed.append(([form for name in (spec.name, *spec.synonyms) for form in noun_forms(name)], "thing"))
        for thing in spec.objects.values():
            listed += [
                ([form for noun in thing.noun for form in noun_forms(noun)], "thing"),
                (thing.count, "amount"), (thing.state, "state"), (thing.relation, "relation"),
                *((choice, "look") for choice in thing.attributes),
            ]
    return _joined(*({phrase: kind for phrase in phrases if phrase not in _NOT_LISTED} for phrases, kind in listed))


def _of_scene(scene: Scene) -> Iterator[tuple[str, Kind]]:
    for phrase in (scene.season, scene.light, scene.place):
        yield phrase, "condition"
    yield scene.sensor, "view"
    for one in scene.relations:
        yield one.predicate, "relation"
    for thing in scene.objects:
        for look in thing.attributes:
            yield look, "look"
        yield thing.count, "amount"
        yield thing.state, "state"
        for form in noun_forms(thing.noun):
            yield form, "thing"


def _joined(*parts: Mapping[str, Kind]) -> dict[str, Kind]:
    """All phrases; one that does two things counts as the kind that comes first in `_ORDER`."""
    found: dict[str, Kind] = {}
    for part in parts:
        for phrase, kind in part.items():
            if phrase not in found or _ORDER.index(kind) < _ORDER.index(found[phrase]):
                found[phrase] = kind
    return found
