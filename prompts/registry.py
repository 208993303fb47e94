"""Expanders by name, from the entry point group `terrasynth.expanders`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.plugins import Plugins
from terrasynth.prompts.types import Expander

EXPANDERS = Plugins("terrasynth.expanders", "expander", InputError)


def expander_names() -> tuple[str, ...]:
    """The names of all installed expanders, sorted; nothing is imported."""
    return EXPANDERS.names()


def load_expander(name: str, **options: object) -> Expander:
    """Make the expander of this name.

    Args:
        name: Name of an entry point in the group `terrasynth.expanders`: `grammar`, `captions`, `file`, `layout`,
            `lm`, `openai` or a plug-in's.
        **options: What the expander's constructor takes.

    Returns:
        The expander, ready to give prompts; what it reads, it has read and checked.

    Raises:
        InputError: The name or an option is unknown, an option is missing, or an option's value is refused.

    Example:
        >>> from terrasynth.prompts import load_expander
        >>> expander = load_expander("grammar", profile="ucm")
        >>> prompts = expander.expand("forest", seed=0, start=0, count=3)
        >>> len(expander.classes), [prompt.label for prompt in prompts]
        (21, ['forest', 'forest', 'forest'])
        >>> prompts[2] == expander.expand("forest", seed=0, start=2, count=1)[0]
        True
    """
    expander = EXPANDERS.make(name, options)
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
    from terrasynth.prompts.scenes.ontology import load_ontology
    from terrasynth.prompts.scenes.wording import find_label

    ontology = load_ontology("open")
    labels = [find_label(label, ontology.classes, ontology) or label for label in classes]
    return load_expander(name, **options, classes=list(dict.fromkeys(labels)))


def _takes_classes(name: str) -> bool:
    return name in EXPANDERS.names() and "classes" in inspect.signature(EXPANDERS.load(name)).parameters
