"""A base recipe with another target, and with checks of its prompts; its other lines and comments stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from terrasynth.prompts.scenes.draft_text import flow
from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml
from terrasynth.synthesis.recipe import Recipe

UNCHECKED = {"view": "false", "keep_class": "false"}
"""Checks that are on where a recipe has any: a base without checks had them not."""

PROMPTS, CHECKS, SAYS = "prompts", "checks", "says"
_PLAIN = re.compile(r"[A-Za-z][\w-]*")


def targeted_text(
    base: str, about: Sequence[str], per_class: Mapping[str, tuple[int, str]], max_attempts: int,
    says: Mapping[str, tuple[list[list[str]], str]], name: str | None = None,
) -> str:
    """The YAML of a targeted recipe.

    Args:
        base: YAML of the base recipe.
        about: Lines of the comment that begins it.
        per_class: Class -> its images, and a comment.
        max_attempts: Attempts of a class after which it is given up.
        says: Class -> what `prompts.checks.says` has of it, and a comment; empty where prompts stay.
        name: What the data set is called; None for what the base says.

    Raises:
        InputError: The base is written in a way that cannot be edited.
    """
    width = max(len(_key(label)) + len(str(count)) for label, (count, _) in per_class.items())
    lines = [f"    {_key(label)}: {count}{' ' * (width - len(_key(label)) - len(str(count)))}    # {comment}"
             for label, (count, comment) in per_class.items()]
    target = "\n".join(["target:", f"  max_attempts: {max_attempts}", "  per_class:", *lines])
    try:
        text = _with_entry(base, "target", target)
        if says:
            text = _without_entry(_with_says(text, says), "identity")  # of other prompts
        if name is not None:
            text = _with_entry(text, "name", f"name: {flow(name)}")
        text = "".join(f"# {line}\n" if line else "#\n" for line in about) + "\n" + text.lstrip("\n")
        Recipe.parse(parse_yaml(text))
    except (yaml.YAMLError, YamlError) as error:
        raise InputError(f"the base recipe is written in a way that cannot be edited ({one_line(error, 200)}); give it "
                         "with a line for each of its parts") from error
    return text


def _key(label: str) -> str:
    """A class as a key of YAML."""
    return label if _PLAIN.fullmatch(label) and yaml.safe_load(label) == label else flow(label)


def _entries(text: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise InputError("the base recipe is written on one line, or is no recipe; give it with a line for each part")
    return [(key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]


def _span(text: str, key: yaml.ScalarNode, value: yaml.Node) -> tuple[int, int]:
    """Where an entry of the recipe begins, and where its last line ends, a comment behind it included."""
    end = text.find("\n", _last(value))
    return key.start_mark.index, len(text) if end < 0 else end


def _last(node: yaml.Node) -> int:
    """Where the last part of a node ends; a block ends where the next key begins, beyond comments of that."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _with_entry(text: str, name: str, entry: str) -> str:
    for key, value in _entries(text):
        if key.value == name:
            start, end = _span(text, key, value)
            return text[:start] + entry + text[end:]
    return f"{text.rstrip()}\n{entry}\n"


def _without_entry(text: str, name: str) -> str:
    for key, value in _entries(text):
        if key.value == name:
            start, end = _span(text, key, value)
            return text[:start] + text[end + 1:]
    return text


def _with_says(text: str, says: Mapping[str, tuple[list[list[str]], str]]) -> str:
    """The recipe whose prompts have to say what is asked."""
    own = dict((key.value, value) for key, value in _entries(text))
    prompts = own.get(PROMPTS)
    if prompts is None:
        return f"{text.rstrip()}\nprompts:\n  checks:\n{_checks(says, 4)}\n"
    if not isinstance(prompts, yaml.MappingNode):
        raise InputError("prompts of the base recipe are no mapping of keys")
    inside = {key.value: value for key, value in prompts.value}
    checks = inside.get(CHECKS)
    if isinstance(checks, yaml.MappingNode) and checks.value:
        return _inserted(text, _without(text, checks), SAYS, lambda indent: _says(says, indent))
    if checks is not None:  # null, or nothing in it
        raise InputError("prompts.checks of the base recipe are empty; leave them out")
    return _inserted(text, prompts, CHECKS, lambda indent: _checks(says, indent))


def _without(text: str, checks: yaml.MappingNode) -> yaml.MappingNode:
    if any(key.value == SAYS for key, _ in checks.value):
        raise InputError("prompts.checks.says of the base recipe sets classes apart already; take it out, or leave the "
                         "prompts as they are (--pairs 0)")
    return checks


def _inserted(text: str, node: yaml.MappingNode, key: str, block: Any) -> str:  # noqa: ANN401 - indentation to text
    """A mapping with one more entry, in its own style."""
    if node.flow_style:
        end = node.end_mark.index - 1
        before = text[:end].rstrip()
        sign = "" if before.endswith((",", "{")) else ","
        return f"{before}{sign}\n    {key}: {block(None)}{text[end:]}"
    end, indent = _span(text, node.value[-1][0], node.value[-1][1])[1], node.value[0][0].start_mark.column
    return f"{text[:end]}\n{' ' * indent}{key}:\n{block(indent + 2)}{text[end:]}"


def _checks(says: Mapping[str, tuple[list[list[str]], str]], indent: int | None) -> str:
    if indent is None:
        off = ", ".join(f"{name}: {value}" for name, value in UNCHECKED.items())
        return f"{{{off}, {SAYS}: {_says(says, None)}}}"
    off = "".join(f"{' ' * indent}{name}: {value}\n" for name, value in UNCHECKED.items())
    return f"{off}{' ' * indent}{SAYS}:\n{_says(says, indent + 2)}"


def _says(says: Mapping[str, tuple[list[list[str]], str]], indent: int | None) -> str:
    if indent is None:
        lines = [f"      {_key(label)}: {flow(lists)}{',' * (place < len(says))}    # {comment}"
                 for place, (label, (lists, comment)) in enumerate(says.items(), 1)]
        return "{\n" + "\n".join(lines) + "\n    }"
    return "\n".join(f"{' ' * indent}{_key(label)}: {flow(lists)}    # {comment}"
                     for label, (lists, comment) in says.items())
