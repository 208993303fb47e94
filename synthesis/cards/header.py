"""The YAML header of a card, apart from its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml


def split_card(text: str, path: Path, again: str) -> tuple[dict[str, Any], str]:
    """Header and body of a card.

    Args:
        path: Where it lies, for the message.
        again: What to do where it is damaged, for the message.

    Raises:
        RunError: It has no YAML header.
    """
    opening, _, rest = text.partition("---\n")
    fields, end, body = rest.partition("\n---\n")
    try:
        found = parse_yaml(fields)
    except YamlError as error:
        raise RunError(f"the header of {path} is not YAML ({one_line(error, 80)}); {again}") from error
    if opening or not end or not isinstance(found, dict):
        raise RunError(f"{path} has no YAML header; {again}")
    return found, body
