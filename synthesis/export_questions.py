"""Questions about a picture, with the answers that its scene gives.

A scene is what the prompt was written from: it says what was asked for, not what is in the picture. Nothing is asked
that the scene leaves open. Absent is what it counts as "no", and what names another class of the ontology and what this
class never has. Every row has as many answers "Yes" as "No".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from prompts.ontology import PROFILES, ClassSpec, Ontology, load_ontology
from prompts.scene import NUMBERS, Scene, SceneObject
from prompts.wording import plural, singular, words

T = TypeVar("T")
MOST = 2
"""Questions of one kind and answer about one row."""

YES, NO = "Yes", "No"
BRIEFLY = "Answer with a single word or phrase."
_WORDS = {value: word for word, value in NUMBERS.items() if word not in ("a", "no")}


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        kind: "class", "presence", "absence", "count" or "relation".
        text: The question.
        answer: Its answer.
    """

    kind: str
    text: str
    answer: str


def questions(key: str, label: str, scene: str, captions: Sequence[str]) -> list[Question]:
    """Questions about one row, in an order that says nothing.

    Args:
        key: Decides which are asked, and their order.
        label: Scene class.
        scene: What `Scene.to_json` wrote; nothing is asked about another JSON object but the class.
        captions: Of the row; an article counts as "one" only where no caption speaks of more.
    """
    found = [Question("class", f"What kind of scene does the image show? {BRIEFLY}", _name(label).capitalize())]
    found += _class_yes_no(key, label)
    known = _scene(scene)
    if known is not None:
        found += _presence(key, known)
        found += _first(key, "count", [_count(thing) for thing in _counted(known, captions)])
        found += _first(key, "relation", _relations(known))
    return _shuffled(key, "order", found)


def _scene(text: str) -> Scene | None:
    try:
        return Scene.from_json(text)
    except (KeyError, TypeError, ValueError):
        return None  # "{}", or what an expander of somebody else's keeps there


def _class_yes_no(key: str, label: str) -> list[Question]:
    ontology = _ontology(label)
    if ontology is None:
        return []
    others = _shuffled(key, "other class", _other_names(label))[:1]
    asked = [(ontology.classes[label].name, YES), *((name, NO) for name in others)]
    return [Question("class", f"Would you call this scene {name!r}? Answer yes or no.", answer)
            for name, answer in asked] if len(asked) == 2 else []


@lru_cache
def _other_names(label: str) -> list[str]:
    ontology = _ontology(label)
    return [] if ontology is None else sorted({other.name for other in _unlike(ontology, label)})


def _presence(key: str, scene: Scene) -> list[Question]:
    there = sorted({thing.noun for thing in scene.objects if thing.number != 0})
    stated = sorted({thing.noun for thing in scene.objects if thing.number == 0} - set(there))
    absent = _shuffled(key, "stated", stated) + _shuffled(key, "foreign", _foreign(scene))
    asked = min(MOST, len(there), len(absent))
    return [
        *(Question("presence", _is_there(noun), YES) for noun in _shuffled(key, "there", there)[:asked]),
        *(Question("absence", _is_there(noun), NO) for noun in absent[:asked]),
    ]


def _foreign(scene: Scene) -> list[str]:
    """What names another class and is in no third, and what neither this scene nor its class ever has."""
    there = {singular(word) for thing in scene.objects for word in words(thing.noun)}
    return [noun for noun, own in _foreign_to(scene.label) if not there & own]


@lru_cache
def _foreign_to(label: str) -> list[tuple[str, set[str]]]:
    """Such nouns, each with its words; nothing of classes that mention this one or are mentioned."""
    ontology = _ontology(label)
    if ontology is None:
        return []
    own = {singular(word) for profile in PROFILES if label in load_ontology(profile).classes
           for word in _vocabulary(load_ontology(profile).classes[label])}
    named = {noun for other in _unlike(ontology, label) for noun in _named_by(other)} & _in_one_class(ontology)
    found = [(noun, {singular(word) for word in words(noun)}) for noun in sorted(named)]
    return [(noun, own_words) for noun, own_words in found if not own & own_words]


def _in_one_class(ontology: Ontology) -> set[str]:
    """Nouns that the scenes of a single class can have."""
    often = Counter(noun for spec in ontology.classes.values()
                    for noun in {noun for thing in spec.objects.values() for noun in thing.noun})
    return {noun for noun, classes in often.items() if classes == 1}


def _unlike(ontology: Ontology, label: str) -> list[ClassSpec]:
    """The classes that share no word of their names with one, and neither mention it nor are mentioned."""
    spec = ontology.classes[label]
    return [other for name, other in ontology.classes.items()
            if name != label and name not in spec.mentions and label not in other.mentions
            and not set(words(other.name)) & set(words(spec.name))]


def _named_by(spec: ClassSpec) -> set[str]:
    names = {singular(word) for word in [spec.name, *spec.synonyms]}
    return {noun for noun in next(iter(spec.objects.values())).noun if singular(noun) in names}


def _vocabulary(spec: ClassSpec) -> set[str]:
    spoken = [spec.name, *spec.synonyms, *(noun for thing in spec.objects.values() for noun in thing.noun)]
    return {word for phrase in spoken for word in words(phrase)}


def _counted(scene: Scene, captions: Sequence[str]) -> list[SceneObject]:
    often = Counter(thing.noun for thing in scene.objects)
    several = any(NUMBERS.get(word, 0) > 1 for caption in captions for word in words(caption))
    return [thing for thing in scene.objects
            if thing.number and thing.number in _WORDS and often[thing.noun] == 1 and not _mass(thing.noun)
            and not (several and thing.count == "a")]


def _count(thing: SceneObject) -> Question:
    return Question("count", f"How many {_form(thing.noun)} are in the image? {BRIEFLY}",
                    _WORDS[thing.number or 0].capitalize())


def _relations(scene: Scene) -> list[Question]:
    by_role = {thing.role: thing for thing in scene.objects}
    return [
        Question(
            "relation",
            f"Where {_verb(by_role[one.subject])} the {_said(by_role[one.subject])} with respect to the "
            f"{_said(by_role[one.object])}? {BRIEFLY}",
            _place(one.predicate, by_role[one.object]),
        )
        for one in scene.relations
        if one.predicate and one.subject in by_role and one.object in by_role
        and 0 not in (by_role[one.subject].number, by_role[one.object].number)
    ]


def _place(predicate: str, thing: SceneObject) -> str:
    open_end = predicate.endswith(tuple(f" {word}" for word in ("of", "with", "to", "from")))
    return (f"{predicate} {'them' if _verb(thing) == 'are' else 'it'}" if open_end else predicate).capitalize()


def _is_there(noun: str) -> str:
    return f"{'Is' if _mass(noun) else 'Are'} there any {_form(noun)} in the image? Answer yes or no."


def _said(thing: SceneObject) -> str:
    return thing.noun if thing.number == 1 else _form(thing.noun)


def _verb(thing: SceneObject) -> str:
    several = _always_plural(thing.noun) or (thing.number != 1 and _form(thing.noun) != thing.noun)
    return "are" if several else "is"


@lru_cache
def _form(noun: str) -> str:
    """The plural where there is one; a mass noun, and one that is a plural already, as it is."""
    for profile in PROFILES:
        ontology = load_ontology(profile)
        if noun in ontology.countable:
            return ontology.countable[noun]
        if noun in ontology.mass or noun in ontology.plural_only:
            return noun
    return noun if _always_plural(noun) else plural(noun)


def _mass(noun: str) -> bool:
    return _form(noun) == noun and not _always_plural(noun)


@lru_cache
def _always_plural(noun: str) -> bool:
    known = [load_ontology(profile) for profile in PROFILES]
    if any(noun in ontology.countable or noun in ontology.mass for ontology in known):
        return False
    return any(noun in ontology.plural_only for ontology in known) or singular(noun) != noun


@lru_cache
def _ontology(label: str) -> Ontology | None:
    """The first that knows a class."""
    return next((found for profile in PROFILES if label in (found := load_ontology(profile)).classes), None)


def _name(label: str) -> str:
    ontology = _ontology(label)
    return " ".join(words(label)) or label if ontology is None else ontology.classes[label].name


def _first(key: str, purpose: str, found: Sequence[Question]) -> list[Question]:
    return _shuffled(key, purpose, found)[:MOST]


def _shuffled(key: str, purpose: str, values: Sequence[T]) -> list[T]:
    """The values in an order that key and purpose decide."""
    def place(item: tuple[int, T]) -> bytes:
        return hashlib.blake2b(f"{key}\0{purpose}\0{item[0]}\0{item[1]}".encode(), digest_size=8).digest()

    return [value for _, value in sorted(enumerate(values), key=place)]
