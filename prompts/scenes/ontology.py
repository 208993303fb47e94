"""What is plausible in an image of each class, read from YAML: objects, counts, attributes, relations, synonyms."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from terrasynth.hashing import text_hash
from terrasynth.prompts.scenes.scene import NUMBERS

FOLDER = Path(__file__).parent
PROFILES = ("ucm", "open", "rs")
BELOW = {"rs": "ucm"}
"""Profile -> the one that it adds classes and words to."""
Weight = Annotated[int, Field(ge=1)]
Weights = dict[str, Weight]
Metres = Annotated[float, Field(gt=0)]
CONDITIONS = ("season", "light", "place", "sensor")
UNCOUNTED = frozenset({"", "the", "some"})
MEASURE = " of"  # "a piece of", "lots of": before a mass noun too; "a row of trees is", but "a lot of trees are"
PLURAL_MEASURES = frozenset({"a lot of", "a number of", "a couple of", "a handful of"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ObjectSpec(_Strict):
    """What an object of a class can be; weights are relative frequencies, "" is "nothing said".

    Attributes:
        noun: Singular (or the only form) and weight; one noun may be written alone.
        count: Words before the noun and its attributes.
        attributes: One choice after the other, in speaking order.
        state: Arrangement or action.
        relation: How it lies to the class's first object.
        chance: How often it is in the scene, 0 to 1.
        surroundings: It lies around what the class is about.
        gsd: Coarsest ground sampling distance at which it is visible, in meters a pixel; None for any.
    """

    noun: Weights
    count: Weights = {"": 1}
    attributes: list[Weights] = []
    state: Weights = {"": 1}
    relation: Weights = {"": 1}
    chance: Annotated[float, Field(gt=0, le=1)] = 1.0
    surroundings: bool = False
    gsd: Metres | None = None

    @field_validator("noun", mode="before")
    @classmethod
    def _alone(cls, value: object) -> object:
        return {value: 1} if isinstance(value, str) else value


class ClassSpec(_Strict):
    """A scene class.

    Attributes:
        synonyms: How its prompts may call it.
        objects: By role; the first is what the class is about, and always there.
        mentions: Other classes that its prompts may name.
        aliases: Its label in public data sets, by data set.
        gsd: Finest and coarsest ground sampling distance of its images, in meters a pixel; None where scenes have
            none.
    """

    name: str
    synonyms: Annotated[list[str], Field(min_length=1)]
    objects: Annotated[dict[str, ObjectSpec], Field(min_length=1)]
    mentions: list[str] = []
    aliases: dict[str, str] = {}
    gsd: Annotated[list[Metres], Field(min_length=2, max_length=2)] | None = None


class Ontology(_Strict):
    """What images from above can show.

    Attributes:
        vocabulary: The words that are spoken, separated by blanks; empty where any may be.
        text_words: What a generator is given has at most so many words where the scene allows: small text encoders
            lose the rest.
        countable: Singular and plural of nouns.
        plural_only: Nouns that always take a plural verb.
        mass: Nouns that always take a singular verb and no number.
        gsd: Ground sampling distances that a scene may have, in meters a pixel.
        conditions: Weights of what may be said of the whole image, by kind (`CONDITIONS`).
        sensor_gsd: Finest and coarsest ground sampling distance of each sensor.
        contradictions: Pairs of lists of words; a scene has nothing of the one beside something of the other.
        classes: By label.
        quantities: Weights that the YAML refers to by anchors; not read.
    """

    vocabulary: str = ""
    text_words: Annotated[int, Field(ge=1)] = 16
    countable: dict[str, str]
    plural_only: list[str]
    mass: list[str]
    gsd: list[Metres] = []
    conditions: dict[str, Weights] = {}
    sensor_gsd: dict[str, Annotated[list[Metres], Field(min_length=2, max_length=2)]] = {}
    contradictions: list[Annotated[list[list[str]], Field(min_length=2, max_length=2)]] = []
    classes: dict[str, ClassSpec]
    quantities: dict[str, object] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Ontology:
        if unknown_kinds := set(self.conditions) - set(CONDITIONS):
            raise ValueError(f"conditions {sorted(unknown_kinds)} are none of {', '.join(CONDITIONS)}")
        for label, spec in self.classes.items():
            if next(iter(spec.objects.values())).chance != 1:
                raise ValueError(f"{label}: the first object is what the class is about, and needs chance 1")
            if spec.gsd and not any(spec.gsd[0] <= metres <= spec.gsd[1] for metres in self.gsd):
                raise ValueError(f"{label}: no ground sampling distance lies in {spec.gsd}")
            if unknown := set(spec.mentions) - set(self.classes):
                raise ValueError(f"{label} mentions {sorted(unknown)}, which are no classes")
            for role, thing in spec.objects.items():
                for noun in thing.noun:
                    for count in thing.count:
                        self._countable(f"{label}.{role}", noun, count)
        return self

    def _countable(self, where: str, noun: str, count: str) -> None:
        if noun in self.mass:
            if count not in UNCOUNTED and not count.endswith(MEASURE):
                raise ValueError(f"{where}: the mass noun {noun!r} cannot be counted with {count!r}")
        elif noun in self.plural_only:
            if NUMBERS.get(count) == 1:
                raise ValueError(f"{where}: {noun!r} has no singular for the count {count!r}")
        elif noun not in self.countable:
            raise ValueError(f"{where}: {noun!r} is neither in countable, nor in plural_only, nor in mass")

    def form(self, noun: str, count: str) -> tuple[str, bool]:
        """The noun as it is said after this count, and whether it takes a plural verb."""
        if noun in self.mass:
            return noun, False
        if noun in self.plural_only:
            return noun, True
        if NUMBERS.get(count) == 1 or count in ("another", "the"):
            return noun, False
        group = count.startswith(("a ", "an ")) and count.endswith(MEASURE) and count not in PLURAL_MEASURES
        return self.countable[noun], not group

    @property
    def words(self) -> frozenset[str]:
        """The vocabulary as a set of lower-case words; empty where any word may be spoken."""
        return frozenset(self.vocabulary.split())


@lru_cache
def load_ontology(profile: str = "ucm") -> Ontology:
    """The ontology of a vocabulary profile.

    Args:
        profile: One of `PROFILES`; `ucm` speaks the words of the UCM-Captions training captions, `rs` those of RSICD,
            too, `open` any words of the classes of five data sets.

    Raises:
        FileNotFoundError: There is no such profile.
        pydantic.ValidationError: The YAML has an unknown key, a wrong type or a noun without a number.
    """
    return Ontology.model_validate(_layered("ontology", profile))


@lru_cache
def load_sentences(profile: str = "ucm") -> dict[str, list[str]]:
    """The sentence templates of a vocabulary profile (see `prompts.scenes.sentences`).

    By label where each class has its own; else by length, `short` and `dense`, for every class alike.
    """
    return _layered("sentences", profile)


def content_hash(profile: str = "ucm") -> str:
    """16 hex digits over what ontology and sentences say; comments and line breaks of the YAML do not count."""
    data = [_layered(kind, profile) for kind in ("ontology", "sentences")]
    return text_hash(json.dumps(data))


def _layered(kind: str, profile: str) -> dict[str, Any]:
    """What the YAML of a profile says, put together with that of the profile below it."""
    own = _read(f"{kind}_{profile}.yaml")
    if profile not in BELOW:
        return own
    below = _layered(kind, BELOW[profile])
    words = {name: f"{below[name]} {own[name]}" for name in ("vocabulary",) if name in own}
    both: dict[str, Any] = _together(below, own)
    return both | words


def _together(below: Any, above: Any) -> Any:  # noqa: ANN401 - plain data of YAML
    """Two trees in one: mappings key by key, lists one behind the other; of two texts, the upper."""
    if isinstance(below, dict):
        return below | {key: _together(below[key], value) if key in below else value for key, value in above.items()}
    return [*below, *above] if isinstance(below, list) else above


@lru_cache
def _read(name: str) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where there is one: it is fast
    data: dict[str, Any] = yaml.load((FOLDER / name).read_text(encoding="utf-8"), Loader=loader)
    return data


UCM: Ontology = load_ontology("ucm")
UCM_CLASSES: tuple[str, ...] = tuple(UCM.classes)


def synonyms(label: str) -> tuple[str, ...]:
    """The words by which a prompt of a UC Merced class names it, lower-case."""
    return tuple(UCM.classes[label].synonyms)
