"""TerraSynth: text to remote-sensing pictures to filtered, traceable image-text data sets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthesis.generators import load_generator
    from synthesis.pipeline import run
    from synthesis.planning import plan
    from synthesis.recipe import Recipe

__all__ = ["Recipe", "load_generator", "plan", "run"]

_PLACES = {
    "Recipe": "synthesis.recipe",
    "load_generator": "synthesis.generators",
    "plan": "synthesis.planning",
    "run": "synthesis.pipeline",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import a public name when it is first used: `import synthesis` stays cheap."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
