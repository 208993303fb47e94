"""Python: every public name, its docstring read by mkdocstrings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType

from reference.docstrings import read
from reference.markdown import page, table

FACES = ("terrasynth", "terrasynth.prompts", "terrasynth.eval", "terrasynth.training.data")
"""The modules whose `__all__` is public."""


def public(face: str) -> tuple[str, ...]:
    """The public names of a module, without the modules among them, which are doors for code of ours."""
    module = importlib.import_module(face)
    return tuple(name for name in module.__all__ if not isinstance(_thing(module, name), ModuleType))


def api_pages() -> Mapping[str, Callable[[], str]]:
    """Path in the site -> what makes the page of each public module."""
    return {f"reference/python/{face}.md": lambda face=face: _page(face) for face in FACES}


def _page(face: str) -> str:
    module = importlib.import_module(face)
    names = public(face)
    rows = ((f"[`{name}`](#{face}.{name})", read(_thing(module, name)).summary) for name in names)
    text = read(module).text
    return page(f"# {face}", text, table(("name", "what it is"), rows), *(f"::: {face}.{name}" for name in names))


def _thing(module: ModuleType, name: str) -> object:
    if hasattr(module, name):
        return getattr(module, name)
    return importlib.import_module(f"{module.__name__}.{name}")
