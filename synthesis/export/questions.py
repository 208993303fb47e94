"""Questions about an image, with the answers that the drawn text gives.

A scene is what the text says: what was asked for, not what is in the image. Nothing is asked that the text leaves
open, so that nothing is said to be absent but what the text says there is none of. Every row has as many answers "Yes"
as "No".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from terrasynth.prompts.scenes.ontology import PROFILES, ClassSpec, Ontology, load_ontology
from terrasynth.prompts.scenes.scene import NUMBERS, Scene, SceneObject
from terrasynth.prompts.scenes.wording import load_class_words, normalised, plural, singular, words

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
    """

    kind: str
    text: str
    answer: str


def questions(key: str, label: str, scene: str, text: str) -> list[Question]:
    """Questions about one row, in an order that says nothing.

    Args:
        key: Decides which are asked, and their order.
        label: Scene class; it is asked for only where the text names it.
        scene: What `Scene.to_json` wrote, cut down to the text (`prompts.scenes.entailment`); nothing but the class is
            asked about another JSON object.
        text: What was drawn; an article counts as "one" only where it speaks of no more.
    """
    found = _class(key, label, text)
    known = _scene(scene)
    if known is not None:
        counted = _counted(known, text)
        found += _presence(key, known)
        found += _first(key, "count", [_count(thing) for thing in counted])
        found += _number(key, counted)
        found += _first(key, "relation", _relations(known))
    return _shuffled(key, "order", found)


def _scene(text: str) -> Scene | None:
    try:
        return Scene.from_json(text)
    except (KeyError, TypeError, ValueError):
        return None  # "{}", or what an expander of somebody else's keeps there


def _class(key: str, label: str, text: str) -> list[Question]:
    """What the scene is called, and by one name that is right and one that is not."""
    if not _names(label, text):
        return []
    found = [Question("class", f"What kind of scene does the image show? {BRIEFLY}", _name(label).capitalize())]
    others = [name for name in _other_names(label) if not set(words(name)) & set(words(text))]
    if not others:
        return found
    asked = [(_name(label), YES), (_shuffled(key, "other class", others)[0], NO)]
    return found + [Question("class", f"Would you call this scene {name!r}? Answer yes or no.", answer)
                    for name, answer in asked]


def _names(label: str, text: str) -> bool:
    """Whether a text calls a class by one of its names."""
    known = [words for words in map(load_class_words, PROFILES) if words.knows(label)]
    if not known:
        return f" {_name(label)} ".lower() in f" {normalised(text)} "
    return any(words.names(label, text) for words in known)


@lru_cache
def _other_names(label: str) -> list[str]:
    ontology = _ontology(label)
    return [] if ontology is None else sorted({other.name for other in _unlike(ontology, label)})


def _presence(key: str, scene: Scene) -> list[Question]:
    """As many things that are there as are said to be absent."""
    there = sorted({thing.noun for thing in scene.objects if thing.number != 0})
    absent = sorted({thing.noun for thing in scene.objects if thing.number == 0} - set(there))
    asked = min(MOST, len(there), len(absent))
    return [
        *(Question("presence", _is_there(noun), YES) for noun in _shuffled(key, "there", there)[:asked]),
        *(Question("absence", _is_there(noun), NO) for noun in _shuffled(key, "absent", absent)[:asked]),
    ]


def _number(key: str, counted: Sequence[SceneObject]) -> list[Question]:
    """Whether there are so many of a thing that there is more than one of: once the right number, once one near it."""
    several = [thing for thing in counted if (thing.number or 0) > 1]
    if not several:
        return []
    thing = _shuffled(key, "number", several)[0]
    right = thing.number or 0
    near = [number for number in _WORDS if number != right and 1 < number <= right + 2]
    wrong = _shuffled(key, "wrong number", near)[0]
    return [Question("count", f"Are there {_WORDS[number]} {_form(thing.noun)} in the image? Answer yes or no.", answer)
            for number, answer in ((right, YES), (wrong, NO))]


def _unlike(ontology: Ontology, label: str) -> list[ClassSpec]:
    """The classes that share no word of their names with one, and neither mention it nor are mentioned."""
    spec = ontology.classes[label]
    return [other for name, other in ontology.classes.items()
            if name != label and name not in spec.mentions and label not in other.mentions
            and not set(words(other.name)) & set(words(spec.name))]


def _counted(scene: Scene, text: str) -> list[SceneObject]:
    often = Counter(thing.noun for thing in scene.objects)
    several = any(NUMBERS.get(word, 0) > 1 for word in words(text))
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
def _profile(label: str) -> str:
    """The first whose ontology knows a class; "" for none."""
    return next((profile for profile in PROFILES if label in load_ontology(profile).classes), "")


def _ontology(label: str) -> Ontology | None:
    profile = _profile(label)
    return load_ontology(profile) if profile else None


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
