"""Pairs of classes that a model confuses, and the words that a prompt of the one can say and of the other cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from terrasynth.prompts import Expander
from terrasynth.prompts.scenes.ontology import ClassSpec, Ontology, load_ontology
from terrasynth.prompts.scenes.own_ontology import read_ontology
from terrasynth.prompts.scenes.wording import concepts, singular, words
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.targeting.confusions import Confusions

LOOKED_AT = 256
"""First prompts of a class in which it is counted how many say one of its words."""

RARE = 0.05
"""Least share of them that has to: below it, most of what an expander gives would be thrown away."""

GRAMMAR, PROFILE = "grammar", "ucm"


@dataclass(frozen=True)
class HardPair:
    """One class of a pair that is confused, and what sets it apart from the other.

    Attributes:
        confused: Images of the two classes that are taken for the other.
        words: Said by prompts of the class, and by none of the other.
        said: The share of the first prompts of the class that say one of these words, and one of each pair before.
    """

    label: str
    rival: str
    confused: int
    words: tuple[str, ...]
    said: float

    @property
    def line(self) -> str:
        """The pair in words."""
        return (f"{self.label}, not {self.rival} ({self.confused} confused): {', '.join(self.words)} (in "
                f"{self.said:.0%} of its prompts)")


@dataclass(frozen=True)
class HardPairs:
    """The pairs that a recipe sets apart.

    Attributes:
        notes: Why a pair is left as it is, a sentence each.
    """

    pairs: tuple[HardPair, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def says(self) -> dict[str, list[list[str]]]:
        """What `prompts.checks.says` of a recipe takes."""
        found: dict[str, list[list[str]]] = {}
        for each in self.pairs:
            found.setdefault(each.label, []).append(list(each.words))
        return found


def most_confused(confusions: Confusions, labels: Sequence[str], most: int) -> list[tuple[str, str, int]]:
    """Pairs of classes and how many of their images are taken for the other, the most frequent first.

    Args:
        labels: The classes that count.
        most: Pairs at the most; what happens once may be chance and is left out.
    """
    both: dict[tuple[str, str], int] = {}
    for label in labels:
        for seen, count in confusions.rivals(label):
            if seen in labels:
                one, other = sorted((label, seen))
                both[one, other] = both.get((one, other), 0) + count
    ordered = sorted((pair for pair in both.items() if pair[1] > 1), key=lambda each: (-each[1], each[0]))
    return [(*pair, count) for pair, count in ordered[:most]]


def hard_pairs(confusions: Confusions, recipe: Recipe, expander: Expander, labels: Sequence[str],
               most: int) -> HardPairs:
    """What sets the classes apart that are confused most.

    A pair gives two: each class is drawn with a word that the other's prompts cannot say, but for one whose prompts all
    say such a word anyway. Words are taken from all that
    the ontology lets the objects of a class be, count, look and do.

    Args:
        recipe: The base; its expander has to be `grammar`, whose words are known beforehand.
        expander: Its expander, without checks.
        labels: Its classes.
        most: Pairs at the most.
    """
    wanted = most_confused(confusions, labels, most)
    if not wanted:
        return HardPairs()
    ontology = _ontology(recipe)
    if ontology is None:
        return HardPairs((), (f"prompts of the expander {recipe.prompts.expander} are left as they are: what they can "
                              "say is not known beforehand",))
    found: list[HardPair] = []
    notes: list[str] = []
    lists: dict[str, list[frozenset[str]]] = {}
    for one, other, count in wanted:
        for label, rival in ((one, other), (other, one)):
            own = telling(ontology, label, rival)
            if own and _said(expander, recipe.seed, label, [frozenset(own)]) == 1:
                notes.append(f"prompts of {label} all say already what sets them apart from {rival}")
                continue
            both = [*lists.get(label, ()), frozenset(own)]
            said = _said(expander, recipe.seed, label, both) if own else 0.0
            if said < RARE:
                notes.append(f"prompts of {label} are not set apart from {rival}: " + (
                    f"{said:.0%} of them say what would" if own else "they say nothing that those of the other cannot"))
                continue
            lists[label] = both
            found.append(HardPair(label, rival, count, own, said))
    return HardPairs(tuple(found), tuple(notes))


def telling(ontology: Ontology, label: str, rival: str) -> tuple[str, ...]:
    """Words, in the singular and sorted, that objects of one class have and those of another, and its names, have not.

    Names of the class itself are left out: they stand in its prompts anyway.

    Example:
        >>> from terrasynth.prompts.scenes.ontology import load_ontology
        >>> from terrasynth.synthesis.targeting.hard_pairs import telling
        >>> telling(load_ontology("ucm"), "forest", "river")[:3]
        ('emerald', 'few', 'grey')
    """
    own, other = ontology.classes[label], ontology.classes[rival]
    return tuple(sorted(_words(own) - _words(other) - _names(own) - _names(other)))


def _words(spec: ClassSpec) -> frozenset[str]:
    return frozenset().union(*map(concepts, _phrases(spec)))


def _phrases(spec: ClassSpec) -> Iterator[str]:
    for thing in spec.objects.values():
        for choice in (thing.noun, thing.count, thing.state, *thing.attributes):
            yield from choice


def _names(spec: ClassSpec) -> frozenset[str]:
    return frozenset().union(*(concepts(name) for name in (spec.name, *spec.synonyms)))


def _ontology(recipe: Recipe) -> Ontology | None:
    options: Mapping[str, object] = recipe.prompts.options
    if recipe.prompts.expander != GRAMMAR:
        return None
    own = options.get("ontology")
    return read_ontology(str(own)).ontology if own else load_ontology(str(options.get("profile") or PROFILE))


def _said(expander: Expander, seed: int, label: str, lists: Sequence[frozenset[str]]) -> float:
    """The share of the first prompts of a class that say a word of each list."""
    prompts = expander.expand(label, seed, 0, LOOKED_AT)
    found = [{singular(word) for word in words(prompt.text)} for prompt in prompts]
    return sum(all(some & said for some in lists) for said in found) / len(found)
