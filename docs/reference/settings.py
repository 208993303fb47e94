"""What a user writes and pydantic checks: recipe keys, filters, checks of prompts, as tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from reference.docstrings import attributes, escaped, read
from reference.markdown import code, page, table
from terrasynth.prompts.checks.settings import CheckSettings
from terrasynth.synthesis.filters import BUILT_IN
from terrasynth.synthesis.recipe import Recipe

HEAD = ("key", "type and limits", "default", "meaning")
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "array": "list",
          "object": "mapping", "null": "null"}
_LIMITS = {"exclusiveMinimum": "&gt; {}", "minimum": "≥ {}", "exclusiveMaximum": "&lt; {}", "maximum": "≤ {}",
           "multipleOf": "a multiple of {}", "maxLength": "at most {} characters", "pattern": "of the form `{}`",
           "maxItems": "at most {} entries", "maxProperties": "at most {} entries"}
_FILLED = ("minLength", "minItems", "minProperties")
_PYTHON = re.compile(r"\b(None|True|False)\b")  # what YAML writes otherwise
_CONSTANTS = {"None": "`null`", "True": "`true`", "False": "`false`"}


class Key(NamedTuple):
    """One key of settings.

    Attributes:
        place: Its dotted place.
        kind: Type and limits, as Markdown.
        default: As Markdown; "required" where there is none.
        meaning: The docstring's words, as Markdown.
    """

    place: str
    kind: str
    default: str
    meaning: str


def keys(model: type[BaseModel], prefix: str = "", deep: bool = True) -> Iterator[Key]:
    """The keys of settings; those of settings within follow the key that holds them.

    Args:
        model: The settings.
        prefix: Dotted place of the settings, with a dot at its end.
        deep: Whether keys within keys are listed.
    """
    schema, words = model.model_json_schema(), attributes(model)
    for name, field in model.model_fields.items():
        inner = None if name == "filters" else _settings_in(field.annotation)
        default: Any = field.get_default(call_default_factory=True, validated_data={})
        meaning = words.get(name) or escaped(field.description or "") or (read(inner).summary if inner else "")
        meaning = _PYTHON.sub(lambda match: _CONSTANTS[match[0]], meaning)
        yield Key(prefix + name, said(schema["properties"][name], schema.get("$defs", {})), _default(default), meaning)
        if inner is not None and deep:
            below = {dict: ".CLASS", tuple: "[]"}.get(get_origin(field.annotation), "")
            yield from keys(inner, f"{prefix}{name}{below}.")


def said(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """A schema in words, with its limits."""
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        return " or ".join(dict.fromkeys(said(option, known) for option in options))
    if "$ref" in schema:
        target = known[schema["$ref"].rpartition("/")[2]]
        return "mapping, with the keys below" if "properties" in target else said(target, known)
    if "const" in schema or "enum" in schema:
        return " or ".join(code(value) for value in schema.get("enum", [schema.get("const")]))
    kind = _TYPES.get(schema.get("type", ""), "any value")
    if isinstance(inner := schema.get("items"), Mapping):
        kind = f"list of: {said(inner, known)}" if "kind" not in str(inner.get("discriminator")) else "list of filters"
    elif places := schema.get("prefixItems"):
        kind = f"list of {len(places)}: {said(places[0], known)}"
    elif isinstance(inner := schema.get("additionalProperties"), Mapping):
        kind = f"mapping from a name to: {said(inner, known)}"
    limits = [text.format(_figure(schema[name])) for name, text in _LIMITS.items() if name in schema
              and not (name == "maxItems" and "prefixItems" in schema)]
    if any(name in schema for name in _FILLED) and "prefixItems" not in schema:
        limits.insert(0, "not empty")
    return f"{kind} ({', '.join(limits)})" if limits else kind


def _figure(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 2**62:
        return f"{'-' if value < 0 else ''}2^{abs(value).bit_length() - 1}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if value == int(value) else f"{value:g}"
    return str(value)


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, float) and math.isinf(value):
        return "no limit"
    if value is None or isinstance(value, bool):
        return code(str({None: "null", True: "true", False: "false"}[value]))
    if isinstance(value, list | tuple):
        return code(f"[{', '.join(map(_plain, value))}]")
    return code("{}" if value == {} else value if value != "" else '""')


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _settings_in(annotation: object) -> type[BaseModel] | None:
    """The settings that an annotation names: itself, or within a union or a collection."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _settings_in(inner))), None)


def recipe_page() -> str:
    """Every key of a recipe, part by part."""
    own = list(keys(Recipe, deep=False))
    parts = [page("# Recipe keys", "A recipe is a YAML file: what to draw, with which model, what to keep, and how "
                  "much. `terrasynth plan RECIPE` checks one and shows what it would do; `--set a.b=value` sets a key "
                  "on the command line. A key that is not listed here is refused, with the nearest that is.",
                  "## Top level", table(HEAD, map(_linked, own)))]
    for name, field in Recipe.model_fields.items():
        inner = None if name == "filters" else _settings_in(field.annotation)
        if inner is not None:
            beside = " The other keys are options of the [expander](expanders.md)." if name == "prompts" else ""
            shown = (_row(key) for key in keys(inner, f"{name}.") if not key.place.startswith("prompts.checks."))
            parts.append(page(f"## {name}", read(inner).text + beside, table(HEAD, shown)))
    return page(*(part.strip() for part in parts))


def _linked(key: Key) -> tuple[str, str, str, str]:
    if key.place == "filters":
        key = key._replace(meaning=f"{key.meaning} See [filters](filters.md).")
    return _row(key._replace(kind=key.kind.replace("the keys below", f"[the keys below](#{key.place})")))


def _row(key: Key) -> tuple[str, str, str, str]:
    kind = key.kind
    if key.place == "prompts.checks":
        kind = kind.replace("mapping, with the keys below", "mapping, with the keys of [checks](checks.md)")
    return code(key.place), kind, key.default, key.meaning


def filter_page() -> str:
    """Every filter of this package, with its settings."""
    parts = ["# Filters", "What a recipe lists under `filters`, in the order in which reasons are given. What each is "
             "good for, with its figures, is on [the page on filters](../filters.md). Other packages may add filters "
             "(entry-point group `terrasynth.filters`)."]
    for kind, model in BUILT_IN.items():
        parts += [f"## {kind}", read(model).text,
                  table(HEAD, (_row(key) for key in keys(model) if key.place != "kind"))]
    return page(*parts)


def check_page() -> str:
    """The checks of prompts."""
    return page("# Checks of prompts", "The keys of `prompts.checks` in a recipe, and of `--check KEY=VALUE` of "
                "`terrasynth expand`.", read(CheckSettings).text, table(HEAD, map(_row, keys(CheckSettings))))
