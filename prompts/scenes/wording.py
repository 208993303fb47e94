"""What the words of a prompt give away: the classes it names, a view from the ground, its concepts."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import yaml

from terrasynth.errors import nearest
from terrasynth.hashing import text_hash
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.ontology import PROFILES, Ontology, load_ontology

_TOKEN = re.compile(r"[^\W_]+|[.,;:!?()\n]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile("['\u2019]s\\b")
_FILE = Path(__file__).parent / "wording.yaml"


def words(text: str) -> list[str]:
    """The words of a text, lower-case; a hyphen or an underscore parts words like a blank, and no mark is left."""
    return _WORD.findall(_POSSESSIVE.sub("", text.lower()))


def normalised(text: str) -> str:
    """The text without case, marks, hyphens and doubled blanks: equal for texts of equal wording."""
    return " ".join(words(text))


def concepts(text: str) -> frozenset[str]:
    """The content words of a text, in the singular."""
    return frozenset(singular(word) for word in words(text) if word not in _function_words())


def ground_view_words(text: str) -> tuple[str, ...]:
    """Words of a view from the ground, or of general-purpose prompt expanders ("close-up", "cinematic").

    Returns:
        The entries of `wording.yaml` that stand in the text, in its order; empty where there is none.
    """
    phrases, entries = _ground_view()
    return tuple(dict.fromkeys(entries[phrase] for _, _, phrase in phrases.find(_tokens(text))))


def singular(word: str) -> str:
    """An English noun in the singular, by the simple rules; other words stay as they are."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:ss|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def plural(word: str) -> str:
    """An English noun in the plural, by the simple rules."""
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(?:s|x|z|ch|sh)$", word) else "s")


def wording_hash() -> str:
    """16 hexadecimal digits over what `wording.yaml` says."""
    return text_hash(json.dumps(_wording()))


class Phrases:
    """Phrases to look for in a text, all at once."""

    def __init__(self, phrases: Iterable[str]) -> None:
        """Prepare the search; the last word of each counts in the singular and in the plural.

        Args:
            phrases: Lower-case texts.
        """
        self._by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for phrase in phrases:
            for form in _forms(phrase):
                self._by_first.setdefault(form[0], []).append((form, phrase))
        for forms in self._by_first.values():
            forms.sort(key=lambda each: -len(each[0]))

    def find(self, tokens: list[str]) -> Iterator[tuple[int, int, str]]:
        """Start, end and phrase of each place in the text, in order; places inside a longer one are left out.

        Args:
            tokens: Words and marks of the text, lower-case; no phrase goes across a mark.
        """
        longest = 0
        for start, token in enumerate(tokens):
            for form, phrase in self._by_first.get(token, ()):
                end = start + len(form)
                if end > longest and tuple(tokens[start:end]) == form:
                    longest = end
                    yield start, end, phrase
                    break


class ClassWords:
    """Which classes of an ontology a text names.

    A class is named by its synonyms, in the singular or plural, as whole words; the longest name counts, so that
    "mobile home park" is no park. What else a prompt of a class may name is what the class's own objects can be (an
    airplane on an airport) and its `mentions`.
    """

    def __init__(self, ontology: Ontology) -> None:
        """Collect the names of all classes."""
        self._names = {label: spec.name for label, spec in ontology.classes.items()}
        self._of: dict[str, set[str]] = {}
        for label, spec in ontology.classes.items():
            for synonym in (spec.name, *spec.synonyms):
                self._of.setdefault(synonym.lower(), set()).add(label)
        wording = _wording()
        idioms = [idiom for idiom in wording["idioms"] if idiom not in self._of]
        self._phrases = Phrases([*self._of, *idioms])
        self._adjectives = frozenset(wording["adjectives"])
        self._generic = frozenset(form for word in wording["generic"] for (form,) in _forms(word))
        self._allowed = {
            label: frozenset({label, *spec.mentions}).union(
                *(found for said in _said(ontology, label) for found in self._found(_tokens(said)))
            )
            for label, spec in ontology.classes.items()
        }

    def knows(self, label: str) -> bool:
        """Whether the ontology has the class."""
        return label in self._names

    def name(self, label: str) -> str:
        """How people call a known class: "mobile home park"."""
        return self._names[label]

    def names(self, label: str, text: str) -> bool:
        """Whether a synonym of a known class stands in the text, and not as a part of another class's name."""
        return any(label in self._of.get(phrase, ()) for _, _, phrase in self._phrases.find(_tokens(text)))

    def others(self, label: str, text: str) -> tuple[str, ...]:
        """The classes that the text names though prompts of a known class may not, in the order of the text."""
        allowed = self._allowed[label]
        found = (labels for labels in self._found(_tokens(text), label) if not labels & allowed)
        return tuple(dict.fromkeys(other for labels in found for other in sorted(labels)))

    def hash(self) -> str:
        """16 hexadecimal digits over what decides the answers."""
        names = {phrase: sorted(labels) for phrase, labels in self._of.items()}
        data = [names, {label: sorted(allowed) for label, allowed in self._allowed.items()}, wording_hash()]
        return text_hash(json.dumps(data, sort_keys=True))

    def _found(self, tokens: list[str], own: str = "") -> Iterator[set[str]]:
        """The classes of each name in the text."""
        own_end = -1
        for start, end, phrase in self._phrases.find(tokens):
            labels = self._of.get(phrase, set())
            if own in labels:
                own_end = end
            elif start == own_end and " ".join(tokens[start:end]) in self._generic:
                continue  # "church building": the church
            elif phrase in self._adjectives and end < len(tokens) and _continues(tokens[end]):
                continue  # "a square roof"
            if labels:
                yield labels


@lru_cache
def load_class_words(profile: str = "open") -> ClassWords:
    """The class words of an ontology's profile.

    Raises:
        InputError: The profile is unknown.
    """
    if profile not in PROFILES:
        raise InputError(f"profile {profile!r} is unknown{nearest(profile, PROFILES)}; there is {', '.join(PROFILES)}")
    return ClassWords(load_ontology(profile))


def find_label(wanted: str, classes: Iterable[str], ontology: Ontology) -> str | None:
    """The label that is meant, or None where there is none or more than one.

    Args:
        wanted: A label in any spelling ("tennis_court", "TennisCourt"), a data set's label, or a synonym.
        ontology: Knows synonyms, and the labels of data sets.
    """
    known = list(classes)
    if wanted in known:
        return wanted
    bare = _bare(wanted)
    found = {label for label in known if _bare(label) == bare}
    if not found:
        alike = [spellings for spellings in _spellings(ontology) if bare in spellings]
        found = {label for label in known for spellings in alike if _bare(label) in spellings}
    return found.pop() if len(found) == 1 else None


def resolve_label(wanted: str, classes: Iterable[str], ontology: Ontology) -> str:
    """The label that is meant; see `find_label`.

    Raises:
        InputError: There is none, or more than one.
    """
    known = list(classes)
    found = find_label(wanted, known, ontology)
    if found is None:
        raise InputError(no_such_class(wanted, known))
    return found


def chosen_labels(names: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """The labels that are meant by names of classes in any spelling, in that order, each once.

    Args:
        known: The labels that there are.

    Raises:
        InputError: A name means none of them, or more than one.

    Example:
        >>> from terrasynth.prompts.scenes.wording import chosen_labels
        >>> chosen_labels(["tennis_court", "forest", "TennisCourt"], ["forest", "river", "tenniscourt"])
        ('tenniscourt', 'forest')
    """
    return tuple(dict.fromkeys(
        name if name in known else resolve_label(name, known, load_ontology("open")) for name in names))


def spoken_name(label: str) -> str:
    """How people call a class: by the open ontology, or by the words of its label in lower case.

    Example:
        >>> from terrasynth.prompts.scenes.wording import spoken_name
        >>> spoken_name("storagetanks"), spoken_name("SolarFarm"), spoken_name("WIND_TURBINE")
        ('storage tanks', 'solar farm', 'wind turbine')
    """
    ontology = load_ontology("open")
    known = find_label(label, ontology.classes, ontology)
    return ontology.classes[known].name if known else " ".join(words(_CAMEL.sub(" ", label))) or label


def no_such_class(wanted: str, known: Sequence[str]) -> str:
    """What is said of a class that an expander does not know, with the way out."""
    start = f"terrasynth init --classes {shlex.quote(wanted)} --out FOLDER"
    return (f"class {wanted!r} does not exist{nearest(wanted, known)}; `{start}` writes a recipe for your own classes "
            f"(with your images: `terrasynth init DIR`); classes that are there: {', '.join(known)}")


def _tokens(text: str) -> list[str]:
    """Words and marks of a text, lower-case."""
    return _TOKEN.findall(_POSSESSIVE.sub("", text.lower()))


def _forms(phrase: str) -> set[tuple[str, ...]]:
    """The words of a phrase with the last one as it is, in the singular and in the plural."""
    *first, last = words(phrase)
    one = singular(last)
    return {(*first, last), (*first, one), (*first, plural(one))}


def _bare(label: str) -> str:
    return "".join(words(label))


def _spellings(ontology: Ontology) -> Iterator[set[str]]:
    """All that each class is called, bare, in the singular and in the plural."""
    for label, spec in ontology.classes.items():
        called = (label, spec.name, *spec.synonyms, *spec.aliases.values())
        yield {"".join(form) for each in called for form in _forms(each)}


def _said(ontology: Ontology, label: str) -> Iterator[str]:
    """Everything that the objects of a class and the conditions of its images can say."""
    for weights in ontology.conditions.values():
        yield from weights
    for thing in ontology.classes[label].objects.values():
        for choice in (thing.noun, thing.state, thing.relation, *thing.attributes):
            yield from choice


def _continues(token: str) -> bool:
    """Whether a word goes on with the noun phrase before it."""
    return token[0].isalnum() and token not in _function_words()


@lru_cache
def _wording() -> dict[str, list[str]]:
    data = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    listed: dict[str, list[str]] = {key: value for key, value in data.items() if key != "ground_view"}
    return listed | {"ground_view": [entry for group in data["ground_view"].values() for entry in group]}


@lru_cache
def _function_words() -> frozenset[str]:
    return frozenset(_wording()["function"])


@lru_cache
def _ground_view() -> tuple[Phrases, dict[str, str]]:
    entries = {entry: entry for entry in _wording()["ground_view"]}
    return Phrases(entries), entries


def place_of(label: str, known: Sequence[str]) -> int | None:
    """The place of a class among labels, which may be spelled otherwise; None where it is not there."""
    found = label if label in known else find_label(label, known, load_ontology("open"))
    return None if found is None else list(known).index(found)
