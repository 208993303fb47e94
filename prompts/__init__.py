"""Prompts for remote-sensing pictures: the `Prompt` type, the `Expander` protocol and the expanders that follow it."""

from __future__ import annotations

from prompts.registry import load_expander
from prompts.types import Expander, Prompt

__all__ = ["Expander", "Prompt", "load_expander"]
