"""What docstrings in Google style say: a text, and names with what they mean."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(Attributes|Args|Raises|Returns|Yields|Example|Examples):$")
_ENTRY = re.compile(r"^ {4}\*{0,2}([\w.]+): (.*)$")
_CODE = re.compile(r"(`[^`]*`)")


@dataclass
class Docstring:
    """A docstring in its parts.

    Attributes:
        text: All before the first section, as Markdown.
        named: Section -> name -> what it means, on one line.
        example: The lines of the example.
    """

    text: str = ""
    named: dict[str, dict[str, str]] = field(default_factory=dict)
    example: str = ""

    @property
    def summary(self) -> str:
        """The first paragraph on one line."""
        return " ".join(self.text.split("\n\n")[0].split())


def read(thing: object) -> Docstring:
    """The docstring of a module, class or function, its own and no other's."""
    found, section, name = Docstring(), "", ""
    before: list[str] = []
    example: list[str] = []
    for line in inspect.cleandoc(getattr(thing, "__doc__", None) or "").splitlines():
        if match := _SECTION.match(line):
            section, name = match[1], ""
        elif not section:
            before.append(line)
        elif section.startswith("Example"):
            example.append(line)
        elif match := _ENTRY.match(line):
            name = match[1]
            found.named.setdefault(section, {})[name] = match[2]
        elif name and line.strip():
            found.named[section][name] += f" {line.strip()}"
    found.text = escaped("\n".join(before).strip())
    found.named = {key: {name: escaped(text) for name, text in own.items()} for key, own in found.named.items()}
    found.example = inspect.cleandoc("\n".join(["", *example])).strip()
    return found


def attributes(thing: type) -> dict[str, str]:
    """What the attributes of a class mean, those of its bases of ours included; the nearest says it."""
    found: dict[str, str] = {}
    for each in reversed(thing.__mro__):
        if each.__module__.startswith("terrasynth."):
            found |= read(each).named.get("Attributes", {})
    return found


def arguments(thing: type) -> dict[str, str]:
    """What the arguments of a constructor mean, said on the class or on the constructor."""
    return read(thing).named.get("Args", {}) | read(vars(thing).get("__init__")).named.get("Args", {})


def escaped(text: str) -> str:
    """Text in which angle brackets outside of code are no HTML."""
    parts = _CODE.split(text)
    return "".join(part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))
