"""TerraSynth: text to remote-sensing images to filtered, traceable image-text data sets.

The four packages lie at the top of the repository and are linked here, so that one name is installed and none of them
can be taken for a `prompts` or an `eval` of a user.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terrasynth.api import evaluate, export, push, train, verify
    from terrasynth.synthesis.generators.finding import load_generator
    from terrasynth.synthesis.ledger.directory import RunDirectory
    from terrasynth.synthesis.pipeline import run
    from terrasynth.synthesis.planning import plan
    from terrasynth.synthesis.recipe import Recipe
    from terrasynth.synthesis.targeting.targeting import target

__all__ = ["Recipe", "RunDirectory", "evaluate", "export", "load_generator", "plan", "push", "run", "target", "train",
           "verify"]

_PLACES = {
    "Recipe": "synthesis.recipe",
    "RunDirectory": "synthesis.ledger.directory",
    "evaluate": "api",
    "export": "api",
    "load_generator": "synthesis.generators.finding",
    "plan": "synthesis.planning",
    "push": "api",
    "run": "synthesis.pipeline",
    "target": "synthesis.targeting.targeting",
    "train": "api",
    "verify": "api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import a public name when it is first used: `import terrasynth` stays cheap."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"terrasynth.{_PLACES[name]}"), name)
