"""Which classes a recipe asks for, and how many images of each, in the labels of its expander."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from terrasynth.errors import UserError
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.ledger.keeping import recorded_recipe
from terrasynth.synthesis.recipe import Recipe


def check_target(recipe: Recipe, root: Path) -> None:
    """Check that a target can be met.

    Raises:
        InputError: A class would have to have more images than attempts.
    """
    target, before = recipe.target, recorded_recipe(root)
    known = before is not None and before.target == target  # of a version that began such a run
    if target.max_attempts < target.most_wanted and not known:
        which = "no class" if isinstance(target.per_class, int) else "not every class"
        raise InputError(f"target.max_attempts {target.max_attempts} is below target.per_class {target.most_wanted}, "
                         f"so that {which} could reach its target; raise the one or lower the other")


def with_labels(recipe: Recipe, known: Sequence[str], asked: Sequence[str]) -> Recipe:
    """The recipe with a target by class in the labels of the expander.

    Raises:
        InputError: The target names other classes than the recipe asks for.
    """
    by_class = recipe.target.per_class
    if not isinstance(by_class, dict):
        return recipe
    labels = _named(list(by_class), known)
    for name, label in labels.items():
        if label not in asked:
            raise InputError(f"target.per_class names {name!r}, which prompts.classes does not; add it there or remove "
                             "it here")
    if missing := [label for label in asked if label not in labels.values()]:
        raise InputError(f"target.per_class has no number for class {missing[0]!r}, which prompts.classes names; add "
                         "one or remove the class")
    counts = {labels[name]: count for name, count in by_class.items()}
    target = recipe.target.model_copy(update={"per_class": {label: counts[label] for label in asked}})
    return recipe.model_copy(update={"target": target})


def choose(wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The labels behind names of classes, in the order of `known`.

    Raises:
        InputError: A class does not exist.
    """
    from terrasynth.prompts.scenes.wording import chosen_labels

    try:
        chosen = chosen_labels(wanted, known)
    except UserError as error:
        raise InputError(str(error)) from error
    return tuple(label for label in known if label in chosen)


def changed_classes(before: Recipe | None, known: Sequence[str], asked: Sequence[str]) -> str:
    """How the classes of a run differ from those of its last call, on one line; "" where they do not.

    Args:
        before: The recipe of the last call; None where there is none.
        known: The labels of the expander.
        asked: Those that are asked for now.
    """
    if before is None:
        return ""
    try:
        had = tuple(known) if before.class_names is None else choose(before.class_names, known)
    except InputError:  # the expander serves other classes now, which the identity says
        return ""
    added, removed = ([label for label in one if label not in other] for one, other in ((asked, had), (had, asked)))
    parts = [f"{what} {', '.join(labels)}" for what, labels in (("added", added), ("removed", removed)) if labels]
    return f"prompts.classes is another than when this run was last called: {'; '.join(parts)}" if parts else ""


def _named(wanted: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """The label behind each name of a class, of which no two may mean the same."""
    found: dict[str, str] = {}
    for name in wanted:
        (label,) = choose([name], known)
        if label in found:
            raise InputError(f"classes {found[label]!r} and {name!r} are the same class {label!r}; name it once")
        found[label] = name
    return {name: label for label, name in found.items()}

