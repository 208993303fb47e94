"""What `--set`, `--option` and their like say: `KEY=VALUE`, the value as YAML, and its place in a tree of settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Turn "key=value" texts into values by key, each value read as YAML.

    Raises:
        InputError: A text has no "=", or its value is not YAML.
    """
    return dict(map(parse_override, overrides))


def parse_override(override: str) -> tuple[str, Any]:
    """The key and the value of one text; see `parse_overrides`."""
    key, found, text = override.partition("=")
    if not found or not key:
        raise InputError(f"{override!r} is not of the form key=value; for instance target.per_class=50")
    try:
        return key, parse_yaml(text)
    except YamlError as error:
        raise InputError(f"{override[:200]!r}: the value is not YAML: {one_line(error)}") from error


def override_of(key: str, text: str) -> str:
    """The "key=value" that `parse_override` reads as this key and text, whatever the text holds.

    Example:
        >>> from terrasynth.synthesis.core.overrides import override_of
        >>> override_of("ontology", "own/classes.yaml"), override_of("ontology", "no #1/classes.yaml")
        ('ontology=own/classes.yaml', 'ontology="no #1/classes.yaml"')
    """
    plain = False
    with suppress(YamlError):
        plain = parse_yaml(text) == text
    return f"{key}={text if plain else json.dumps(text, ensure_ascii=False)}"


def put(tree: dict[str, Any], key: str, value: object) -> None:
    """Put a value where a dotted key leads in a tree of mappings and lists; what is not there yet is made.

    The place behind the last of a list is one more.

    Raises:
        InputError: The key leads below a plain value, or to no place of a list.
    """
    node: Any = tree
    *parents, last = key.split(".")
    for parent in parents:
        if isinstance(node, list):
            if (place := _index(node, parent, key)) == len(node):
                node.append({})
            node = node[place]
        else:
            node = node.setdefault(parent, {})
        if not isinstance(node, dict | list):
            raise InputError(f"--set {key}: {parent!r} is a plain value and has no keys below it")
    if isinstance(node, list):
        place = _index(node, last, key)
        node[place : place + 1] = [value]
    else:
        node[last] = value


def _index(node: Sequence[Any], part: str, key: str) -> int:
    if part.isdecimal() and int(part) <= len(node):
        return int(part)
    raise InputError(f"--set {key}: {part!r} is no place in a list of {len(node)}; count from 0")
