"""What a model met in training: by its reference, and whether a class was among it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terrasynth.eval.evaluation.judge_figures import JudgeFigures
    from terrasynth.eval.models.knowledge import Knowledge


def known_by(reference: str, folder: Path | None = None) -> Knowledge | None:
    """What a model met in training, by its reference; None where nothing says."""
    from terrasynth.eval.models.knowledge import knowledge_of
    from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve
    from terrasynth.synthesis.core.embedded import WEIGHTS

    return knowledge_of(resolve(reference, [EMBEDDED_ROOT, WEIGHTS]), folder)


def judge_figures_of(reference: str) -> JudgeFigures | None:
    """What a judge of one's own classes can do, by its reference; None for any other model."""
    from terrasynth.eval.evaluation.judge_figures import load_judge_figures
    from terrasynth.eval.models.loaders import judge_folder

    found = judge_folder(reference)
    return None if found is None else load_judge_figures(found.folder)


def knows_class(knowledge: Knowledge, label: str) -> bool:
    """Whether a model met a class, by its label or a synonym, or read all words of one of its names."""
    from terrasynth.prompts.scenes.ontology import PROFILES, load_ontology
    from terrasynth.prompts.scenes.wording import find_label

    if any(find_label(label, knowledge.classes, load_ontology(profile)) for profile in PROFILES):
        return True
    return knowledge.words is not None and any(not knowledge.unread(name) for name in names_of(label))


def not_among(labels: Sequence[str], met: Sequence[str]) -> list[str]:
    """Which classes are none of those that were met, by label or synonym, without regard to blanks and capitals.

    Example:
        >>> from terrasynth.synthesis.core.knowledge import not_among
        >>> not_among(["railwaystation", "forest"], ["railway station", "stadium"])
        ['forest']
    """
    from terrasynth.eval.models.knowledge import Knowledge

    known, plain = Knowledge(None, tuple(met)), {_plain(label) for label in met}
    return [label for label in labels if _plain(label) not in plain and not knows_class(known, label)]


def _plain(label: str) -> str:
    return "".join(filter(str.isalnum, label)).lower()


def unknown_classes(reference: str, labels: Iterable[str]) -> list[str]:
    """The classes that a model never met, by its reference; none where nothing says what it met.

    Example:
        >>> from terrasynth.synthesis.core.knowledge import unknown_classes
        >>> unknown_classes("scene-ucm", ["forest", "wind turbine"])
        ['wind turbine']
    """
    knowledge = known_by(reference)
    return [] if knowledge is None else [label for label in labels if not knows_class(knowledge, label)]


def names_of(label: str) -> list[str]:
    """What texts call a class: its names in the ontologies, or the words of its label where none has it."""
    from terrasynth.prompts.scenes.ontology import PROFILES, load_ontology
    from terrasynth.prompts.scenes.wording import words

    specs = [ontology.classes[label] for ontology in map(load_ontology, PROFILES) if label in ontology.classes]
    return [name for spec in specs for name in (spec.name, *spec.synonyms)] or [" ".join(words(label))]


def unread_name(knowledge: Knowledge, label: str, text: str, scene: str) -> str:
    """What a text calls its class, where a model never read any word of that; "" where it reads one, or none is known.

    Args:
        scene: The text's scene as JSON, whose first object is what the class is about; "{}" where there is none.
    """
    from terrasynth.eval.models.knowledge import Knowledge
    from terrasynth.prompts.scenes.wording import Phrases, words

    noun = next((thing.get("noun") for thing in json.loads(scene).get("objects", ())), None)
    found = [noun] if noun else [name for _, _, name in Phrases(map(str.lower, names_of(label))).find(words(text))]
    every = [Knowledge(frozenset()).unread(name) for name in found]
    unread = [knowledge.unread(name) for name in found]
    return found[0] if found and unread == every and all(unread) else ""
