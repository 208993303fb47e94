"""TerraSynth: text to remote-sensing images to filtered, traceable image-text data sets."""

from __future__ import annotations

if __name__ != "terrasynth.synthesis":  # a file under two names would be two modules with two classes of each name
    raise ImportError("this folder is a part of terrasynth: `pip install -e .`, then `import terrasynth.synthesis`")

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terrasynth.synthesis.generators.finding import load_generator
    from terrasynth.synthesis.pipeline import run
    from terrasynth.synthesis.planning import plan
    from terrasynth.synthesis.recipe import Recipe

__all__ = ["Recipe", "load_generator", "plan", "run"]

_PLACES = {
    "Recipe": "terrasynth.synthesis.recipe",
    "load_generator": "terrasynth.synthesis.generators.finding",
    "plan": "terrasynth.synthesis.planning",
    "run": "terrasynth.synthesis.pipeline",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import a public name when it is first used: `import terrasynth.synthesis` stays cheap."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
