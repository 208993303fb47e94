"""What a model met in training: by its reference, and whether a class was among it."""

from __future__ import annotations

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
    from terrasynth.prompts.scenes.wording import find_label, words

    ontologies = [load_ontology(profile) for profile in PROFILES]
    if any(find_label(label, knowledge.classes, ontology) for ontology in ontologies):
        return True
    if knowledge.words is None:
        return False
    specs = [ontology.classes[label] for ontology in ontologies if label in ontology.classes]
    names = [name for spec in specs for name in (spec.name, *spec.synonyms)] or [" ".join(words(label))]
    return any(not knowledge.unread(name) for name in names)
