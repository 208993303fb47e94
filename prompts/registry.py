"""Expanders by name, from the entry point group `terrasynth.expanders`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib.metadata import entry_points

from prompts.errors import InputError, nearest
from prompts.types import Expander

GROUP = "terrasynth.expanders"


def expander_names() -> tuple[str, ...]:
    """The names of all installed expanders, sorted; nothing is imported."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load_expander(name: str, **options: object) -> Expander:
    """Make the expander of this name.

    Args:
        name: Name of an entry point in the group `terrasynth.expanders`: `grammar`, `captions`, `file`, `lm`,
            `openai` or a plug-in's.
        **options: What the expander's constructor takes.

    Returns:
        The expander, ready to give prompts; what it reads, it has read and checked.

    Raises:
        InputError: The name or an option is unknown, an option is missing, or an option's value is refused.
    """
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        names = expander_names()
        raise InputError(f"expander {name!r} is unknown{nearest(name, names)}; there is {', '.join(names) or 'none'}")
    factory = found[0].load()
    parameters = inspect.signature(factory).parameters
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    for option in options:
        if option not in parameters and not open_ended:
            raise InputError(
                f"option {option!r} is unknown to the {name} expander{nearest(option, parameters)}; "
                f"it takes {', '.join(parameters) or 'none'}"
            )
    for option, parameter in parameters.items():
        named = parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        if named and parameter.default is inspect.Parameter.empty and option not in options:
            raise InputError(f"the {name} expander needs the option {option!r}; add it, as in {option}: VALUE")
    expander = factory(**options)
    if not isinstance(expander, Expander):
        raise TypeError(f"expander {name!r} lacks a part of the Expander protocol (name, classes, identity, expand)")
    return expander


def load_expander_for(classes: Sequence[str] | None, name: str, /, **options: object) -> Expander:
    """Make an expander and tell it which classes it is to serve, if it can be told.

    Those that take an option `classes`, as language models do, serve labels of the user's own as well.

    Args:
        classes: Labels in any spelling; None for all that the expander serves by itself.
        name: See `load_expander`.
        **options: See `load_expander`.

    Raises:
        InputError: See `load_expander`.
    """
    if classes is None or "classes" in options or not _takes_classes(name):
        return load_expander(name, **options)
    from prompts.ontology import load_ontology
    from prompts.wording import find_label

    ontology = load_ontology("open")
    labels = [find_label(label, ontology.classes, ontology) or label for label in classes]
    return load_expander(name, **options, classes=list(dict.fromkeys(labels)))


def _takes_classes(name: str) -> bool:
    return any("classes" in inspect.signature(point.load()).parameters
               for point in entry_points(group=GROUP) if point.name == name)
