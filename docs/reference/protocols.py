"""Python: what a package of somebody else's implements to add a generator, a filter and so on, with an example."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from reference.docstrings import read
from reference.markdown import code, page, table

EXAMPLES = Path(__file__).parents[2] / "tests" / "plugin" / "terrasynth_example"


@dataclass(frozen=True)
class Kind:
    """What can be added.

    Attributes:
        name: In the plural.
        group: Entry-point group.
        chosen: Where its name is given.
        protocols: What a plug-in implements or uses, each by its module and name, the most important first.
        example: Module of the example package.
    """

    name: str
    group: str
    chosen: str
    protocols: tuple[str, ...]
    example: str


KINDS = (
    Kind("Generators", "terrasynth.generators", "`generator.model` of a recipe, alone or as `NAME:WHAT`", (
        "terrasynth.synthesis.generators.base.GeneratorPlugin", "terrasynth.synthesis.generators.base.Generator",
        "terrasynth.synthesis.generators.base.GeneratorSource", "terrasynth.synthesis.generators.base.Drawn"),
        "generator"),
    Kind("Filters", "terrasynth.filters", "`kind` of a filter of a recipe", (
        "terrasynth.synthesis.filters.base.FilterSettings", "terrasynth.synthesis.filters.base.ClassJudge",
        "terrasynth.synthesis.filters.base.Measurements", "terrasynth.synthesis.filters.base.Source",
        "terrasynth.synthesis.filters.base.Measurer"), "filter"),
    Kind("Expanders", "terrasynth.expanders", "`prompts.expander` of a recipe", (
        "terrasynth.prompts.types.Expander", "terrasynth.prompts.types.Prompt"), "expander"),
    Kind("Executors", "terrasynth.executors", "`runtime.executor` of a recipe", (
        "terrasynth.synthesis.execution.base.Executor", "terrasynth.synthesis.execution.base.ExecutorSetup",
        "terrasynth.synthesis.execution.base.BlockOrder", "terrasynth.synthesis.execution.base.MadeBlock",
        "terrasynth.synthesis.execution.block_maker.BlockMaker"), "executor"),
    Kind("Exporters", "terrasynth.exporters", "`--format` of `terrasynth export`", (
        "terrasynth.synthesis.export.registry.Exporter", "terrasynth.synthesis.export.plan.Plan"), "exporter"),
)


def protocol_page() -> str:
    """What each kind of plug-in implements, and one that does."""
    parts = ["# Plug-ins",
             "A package of yours adds a generator, a filter, an expander, an executor or an exporter by an entry point "
             "in its `pyproject.toml`; its name is then chosen like one of ours. Nothing is registered at run time. "
             "Checks of prompts are settings and no plug-ins: an expander of yours can check what it writes.",
             table(("adds", "entry-point group", "chosen by", "implements"), (
                 (f"[{kind.name}](#{kind.name.lower()})", code(kind.group), kind.chosen,
                  f"`{kind.protocols[0].rpartition('.')[2]}`") for kind in KINDS))]
    for kind in KINDS:
        parts += [f"## {kind.name}", read(_thing(kind.protocols[0])).summary]
        parts += [f"::: {name}\n    options:\n      heading_level: 3" for name in kind.protocols]
        source = (EXAMPLES / f"{kind.example}.py").read_text(encoding="utf-8").strip()
        parts += [f"### An example: {kind.example}", f"```python\n{source}\n```"]
    return page(*parts)


def _thing(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
