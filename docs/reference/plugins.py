"""What is chosen by name and takes options: expanders, and the options of any plug-in."""

from __future__ import annotations

import inspect
from typing import Any

from reference.docstrings import arguments, read
from reference.markdown import code, page, table
from terrasynth.prompts.registry import EXPANDERS

OURS = "terrasynth."
HEAD = ("option", "type", "default", "meaning")


def options(thing: Any) -> list[tuple[str, str, str, str]]:  # noqa: ANN401 - a class, whichever it is
    """The options of a plug-in: name, type, default and meaning, of each argument of its constructor."""
    if "__init__" not in vars(thing):
        return []
    words = arguments(thing)
    return [
        (name, code(parameter.annotation), _default(parameter.default), words.get(name, ""))
        for name, parameter in inspect.signature(thing).parameters.items()
    ]


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return code({None: "null", True: "true", False: "false"}.get(value, value) if isinstance(value, bool | None)
                else value)


def options_table(thing: Any) -> str:  # noqa: ANN401
    """The options of a plug-in as a table, or a line that says that it has none."""
    return table(HEAD, ((code(name), *rest) for name, *rest in options(thing))) or "It takes no options."


def own(plugins: Any) -> dict[str, Any]:  # noqa: ANN401 - `terrasynth.prompts.plugins.Plugins`
    """The plug-ins of this package, by name; those of other packages that happen to be installed are left out."""
    found = {name: plugins.load(name) for name in plugins.names()}
    return {name: thing for name, thing in found.items() if thing.__module__.startswith(OURS)}


def expander_page() -> str:
    """Every expander of this package, with its options."""
    parts = ["# Expanders", "What writes prompts: `prompts.expander` of a recipe and `--expander` of `terrasynth "
             "expand`. Options stand beside `prompts.expander` in a recipe, and are given as `--option KEY=VALUE` "
             "on the command line. Which to take is on [the page on prompts](../prompts.md). Other packages may add "
             "expanders (entry-point group `terrasynth.expanders`)."]
    for name, thing in own(EXPANDERS).items():
        parts += [f"## {name}", read(thing).text, options_table(thing)]
    return page(*parts)
