"""What is said of an image, piece by piece, so that a person can strike what is not true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from terrasynth.prompts.scenes.lexicon import lexicon_of, noun_forms
from terrasynth.prompts.scenes.scene import Scene, SceneObject
from terrasynth.prompts.scenes.statements import read
from terrasynth.prompts.scenes.wording import singular, words

_SMALL = frozenset({"a", "an", "the", "of", "in", "on", "at", "to", "with", "and", "some", "is", "are"})


@dataclass(frozen=True)
class Mention:
    """A thing that a scene speaks of.

    Attributes:
        noun: What it is, in the singular where it has one.
        present: Whether it is there, or said to be absent.
    """

    noun: str
    present: bool


def claims(text: str, label: str, scene: str) -> list[str]:
    """What a text says: things with their number and looks, how they are and lie, season, light and place.

    Args:
        text: What the image was drawn from.
        scene: Its scene, cut down to the text.

    Example:
        >>> from terrasynth.prompts.scenes.claims import claims
        >>> claims("two boats on a calm river", "river", "{}")
        ['two boats', 'a calm river']
    """
    known = known_scene(scene)
    if known is None:
        things = read(text, lexicon_of(label, None)).things
        return list(dict.fromkeys(" ".join([*(["no"] * thing.absent), *thing.words]) for thing in things))
    said = [_phrase(thing) for thing in known.objects]
    said += [f"{thing.noun} {thing.state}" for thing in known.objects if thing.state]
    by_role = {thing.role: thing.noun for thing in known.objects}
    said += [f"{by_role[one.subject]} {one.predicate} {by_role[one.object]}" for one in known.relations
             if one.subject in by_role and one.object in by_role]
    said += [each for each in (known.season, known.light, known.place, known.sensor) if each]
    return list(dict.fromkeys(said))


def mentions(scene: str) -> list[Mention]:
    """The things that a scene speaks of; none of another JSON object than a scene of ours."""
    known = known_scene(scene)
    return [] if known is None else [Mention(thing.noun, thing.number != 0) for thing in known.objects]


def without(captions: Sequence[str], struck: Sequence[str]) -> list[str]:
    """The captions that do not say what was struck.

    A caption says it that has all of its words, in the singular or the plural, but for articles and the like: so of
    "two white boats" one that speaks of white boats stays, and of "boat" none stays that has a boat.

    Example:
        >>> from terrasynth.prompts.scenes.claims import without
        >>> without(["two boats on a river", "boats on a river", "a river"], ["two boats"])
        ['boats on a river', 'a river']
        >>> without(["two boats on a river", "boats on a river", "a river"], ["boat"])
        ['a river']
    """
    gone = [_telling(one) for one in struck]
    return [caption for caption in captions if not any(_says(caption, each) for each in gone)]


def known_scene(scene: str) -> Scene | None:
    """A scene of ours; None for another JSON object, or none."""
    try:
        return Scene.from_json(scene)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _phrase(thing: SceneObject) -> str:
    return " ".join(each for each in (thing.count, *thing.attributes, thing.noun) if each)


def _telling(claim: str) -> tuple[str, ...]:
    """The words of a claim that tell it from others."""
    said = tuple(words(claim))
    return tuple(word for word in said if word not in _SMALL) or said


def _says(caption: str, telling: tuple[str, ...]) -> bool:
    said = set(words(caption))
    return all(said & {form for one in {word, singular(word)} for form in noun_forms(one)} for word in telling)
