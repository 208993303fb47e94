"""From a schema of settings to the fields of a form, and from what was typed back to plain data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel

from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml

Kind = Literal["text", "number", "choice", "yaml", "group"]
TRUTHS = {"true": True, "false": False}
_OF_CODE = re.compile(r" \(`?terrasynth\.[^)]*\)")
_SENTENCE = re.compile(r"(?<!\.)\.\s+(?=[A-Z])|; |: ")
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class FormField:
    """One field of a form.

    Attributes:
        name: Dotted place in the recipe, such as "generator.steps".
        title: What it is called.
        help: What it means.
        kind: "group" is a part with fields of its own that may be absent.
        default: What counts where it is left empty, as text; "" where nothing does.
        choices: What can be chosen.
        whole: A number without a fraction.
        least: Smallest number.
        most: Largest number.
        required: Whether it has to be given.
        pattern: Regular expression of a text.
        fields: Of a group.
    """

    name: str
    title: str
    help: str
    kind: Kind
    default: str = ""
    choices: tuple[str, ...] = ()
    whole: bool = False
    least: float | None = None
    most: float | None = None
    required: bool = False
    pattern: str = ""
    fields: tuple[FormField, ...] = ()

    @property
    def hint(self) -> str:
        """The beginning of what it means, for below the field."""
        parts = _SENTENCE.split(self.help)
        start = parts[0] if parts[0] != "Or" else f"Or: {parts[1]}"
        return start.rstrip(".")

    def read(self, typed: str) -> Any:  # noqa: ANN401 - what a recipe may hold there
        """What was typed, as plain data; what is no such value stays text, of which the recipe says what is wrong."""
        typed = typed.strip()
        if self.kind == "choice":
            return TRUTHS.get(typed, typed) if "true" in self.choices else typed
        if self.kind == "number":
            return _number(typed)
        if self.kind == "yaml":
            try:
                return parse_yaml(typed)
            except YamlError:
                return typed
        return typed


@cache
def fields_of(
    model: type[BaseModel], prefix: str = "", leave_out: frozenset[str] = frozenset()
) -> tuple[FormField, ...]:
    """The fields of settings, as a form shows them.

    Args:
        prefix: Dotted place of the settings in the recipe, with a dot at its end; "" for the recipe itself.
        leave_out: Names of settings that are no fields.

    Example:
        >>> from terrasynth.synthesis.recipe import TargetSettings
        >>> from terrasynth.synthesis.service.page.schema_fields import fields_of
        >>> [(field.name, field.default) for field in fields_of(TargetSettings, "target.", frozenset({"kept"}))]
        [('target.per_class', '20'), ('target.max_attempts', '80')]
    """
    schema = model.model_json_schema()
    return tuple(_fields(schema, schema.get("$defs", {}), prefix, leave_out))


def _fields(schema: Mapping[str, Any], known: Mapping[str, Any], prefix: str, leave_out: frozenset[str]
            ) -> Iterator[FormField]:
    about = {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(schema.get("description", ""))}
    for name, each in schema["properties"].items():
        if name not in leave_out:
            yield _field(prefix + name, each, known, about.get(name, ""), name in schema.get("required", ()))


def _field(place: str, each: Mapping[str, Any], known: Mapping[str, Any], help_: str, required: bool) -> FormField:
    options = [option for option in each.get("anyOf", [each]) if option.get("type") != "null"]
    first, title = options[0], place.rpartition(".")[2].replace("_", " ")
    help_ = _OF_CODE.sub("", help_).replace("`", "")
    if "$ref" in first:
        inner = known[first["$ref"].rpartition("/")[2]]
        fields = tuple(_fields(inner, known, f"{place}.", frozenset()))
        return FormField(place, title, help_, "group", fields=fields)
    default = each.get("default")
    shown = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    given: dict[str, Any] = {"name": place, "title": title, "help": help_, "default": shown, "required": required}
    choices = _choices(options)
    if choices:
        return FormField(**given, kind="choice", choices=choices)
    if all(option.get("type") in ("integer", "number") for option in options):
        least = first.get("minimum", first.get("exclusiveMinimum"))
        whole = first["type"] == "integer"
        if whole and "exclusiveMinimum" in first:
            least = first["exclusiveMinimum"] + 1
        return FormField(**given, kind="number", whole=whole, least=least, most=first.get("maximum"))
    if any(option.get("type") in ("object", "array", "integer", "number") for option in options):
        return FormField(**(given | {"default": "" if isinstance(default, dict | list) else shown}), kind="yaml")
    return FormField(**given, kind="text", pattern=first.get("pattern", ""))


def _choices(options: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """All values that are allowed, where they can be listed."""
    found: list[str] = []
    for option in options:
        if "enum" in option:
            found += map(str, option["enum"])
        elif "const" in option:
            found.append(str(option["const"]))
        elif option.get("type") == "boolean":
            found += TRUTHS
        else:
            return ()
    return tuple(found)


def _number(typed: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(typed)
        except ValueError:
            continue
    return typed
