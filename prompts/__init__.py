"""Prompts for remote-sensing images: the `Prompt` type, the `Expander` protocol and the expanders that follow it."""

from __future__ import annotations

if __name__ != "terrasynth.prompts":  # a file under two names would be two modules with two classes of each name
    raise ImportError("this folder is a part of terrasynth: `pip install -e .`, then `import terrasynth.prompts`")

from terrasynth.prompts.registry import load_expander
from terrasynth.prompts.types import Expander, Prompt

__all__ = ["Expander", "Prompt", "load_expander"]
