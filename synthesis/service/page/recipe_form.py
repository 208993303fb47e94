"""A recipe as a form, and a form as a recipe: what is typed is plain data, which `Recipe.parse` alone judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from terrasynth.prompts import load_expander
from terrasynth.prompts.registry import expander_names
from terrasynth.prompts.scenes.ontology import PROFILES
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml
from terrasynth.synthesis.filters import FILTERS
from terrasynth.synthesis.recipe import (
    SHIPPED,
    GeneratorSettings,
    OutputSettings,
    PromptSettings,
    Recipe,
    RuntimeSettings,
    TargetSettings,
)
from terrasynth.synthesis.service.page.rendering import spoken
from terrasynth.synthesis.service.page.schema_fields import FormField, fields_of
from terrasynth.synthesis.service.page.typed import Typed, first

OWN = {"expander", "classes", "checks"}  # of `prompts`; whatever else stands there belongs to the expander
CLASSES, EXTRA, KEPT = "prompts.classes", "prompts.*", "kept"
BEHIND = ("lora_scale", "vae", "control", "scheduler", "height", "width", "conditioning", "options")  # of the generator


@dataclass(frozen=True)
class SceneClass:
    """A class that can be ticked.

    Attributes:
        name: What people call it.
        prompt: The first prompt of it that a run with this seed draws.
    """

    label: str
    name: str
    prompt: str


def basics() -> tuple[FormField, ...]:
    """Name, seed, and what to do about unknown words."""
    return fields_of(Recipe, "", frozenset({"generator", "prompts", "filters", "target", "output", "runtime",
                                            "identity"}))


def generator_fields(behind: bool = False) -> tuple[FormField, ...]:
    """Which model draws; `behind` gives those settings that few people need."""
    every = set(GeneratorSettings.model_fields)
    return fields_of(GeneratorSettings, "generator.", frozenset(every - {*BEHIND} if behind else {*BEHIND}))


def target_fields() -> tuple[FormField, ...]:
    """How many images."""
    return fields_of(TargetSettings, "target.", frozenset({"kept"}))


def prompt_fields() -> tuple[FormField, ...]:
    """What a prompt has to pass."""
    return fields_of(PromptSettings, "prompts.", frozenset({"classes", "expander"}))


def machine_fields() -> tuple[FormField, ...]:
    """How images are stored, and where the work is done."""
    return fields_of(OutputSettings, "output.") + fields_of(RuntimeSettings, "runtime.", frozenset({"executor"}))


def filter_fields(kind: str, place: int) -> tuple[FormField, ...]:
    """The fields of a filter."""
    return fields_of(FILTERS[kind], f"filters.{place}.", frozenset({"kind"})) if kind in FILTERS else ()


def expanders() -> tuple[str, ...]:
    """Who can write prompts."""
    return expander_names()


@lru_cache(maxsize=64)
def scene_classes(profile: str, seed: int) -> tuple[SceneClass, ...]:
    """The classes that the expander `grammar` serves, each with a prompt.

    Args:
        profile: Whose classes: "ucm" or "open".
        seed: Of the recipe.
    """
    expander = load_expander("grammar", profile=profile)
    return tuple(SceneClass(label, spoken(label), expander.expand(label, seed, 0, 1)[0].text)
                 for label in expander.classes)


def classes_shown(tree: Mapping[str, Any]) -> tuple[SceneClass, ...]:
    """The classes that can be ticked for a recipe; none where only its expander knows which there are."""
    prompts = _part(tree, "prompts")
    profile, seed = prompts.get("profile", "ucm"), tree.get("seed", 0)
    if prompts.get("expander", "grammar") not in ("grammar", "lm", "openai") or profile not in PROFILES:
        return ()
    return scene_classes(profile, seed if isinstance(seed, int) and 0 <= seed < 2**63 else 0)


def beginning() -> dict[str, Any]:
    """What the form of a new data set begins with: the shipped recipe, with fewer images."""
    tree = Recipe.load(SHIPPED / "demo.yaml").tree()
    return {"generator": {"model": tree["generator"]["model"]}, "filters": tree["filters"],
            "prompts": {"classes": ["beach", "forest", "harbor"]}, "target": {"per_class": 20, "max_attempts": 80}}


def value_of(tree: Mapping[str, Any], name: str) -> str:
    """What a recipe has at a place, as it is typed; "" where it has nothing."""
    found: Any = tree
    for part in name.split("."):
        if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping) and part in found:
            found = found[part]
        else:
            return ""
    if found is None or found == {}:
        return ""
    if isinstance(found, bool):
        return str(found).lower()
    return yaml.safe_dump(found, default_flow_style=True, width=10**6).strip() if isinstance(found, dict | list) \
        else str(found)


def tree_of(typed: Typed) -> dict[str, Any]:
    """A recipe as plain data from a form that was sent.

    Raises:
        InputError: A part that is written as YAML is none.
    """
    tree: dict[str, Any] = {}
    for field in _leaves((*basics(), *generator_fields(), *generator_fields(behind=True))):
        _take(tree, field, typed)
    prompts = tree.setdefault("prompts", {})
    if expander := _first(typed, "prompts.expander"):
        prompts["expander"] = expander
    prompts["classes"] = _chosen(typed)
    prompts.update(_mapping(_first(typed, EXTRA), "options of the expander"))
    if _first(typed, "prompts.checks"):
        prompts["checks"] = {}
    for field in prompt_fields():
        for inner in field.fields if "checks" in prompts else ():
            _take(tree, inner, typed)
    filters = list(_filters(typed))
    for field in _leaves((*target_fields(), *machine_fields())):
        _take(tree, field, typed)
    tree["filters"] = filters
    kept = _mapping(_first(typed, KEPT), "what the run keeps")
    if "identity" in kept:
        tree["identity"] = kept["identity"]
    if "kept" in kept:
        tree.setdefault("target", {})["kept"] = kept["kept"]
    return {key: tree[key] for key in Recipe.model_fields if key in tree}


def kept_of(tree: Mapping[str, Any]) -> str:
    """What a run wrote into its recipe and no form shows, to be sent along."""
    kept = {"identity": tree.get("identity"), "kept": _part(tree, "target").get("kept")}
    return yaml.safe_dump({key: value for key, value in kept.items() if value}, default_flow_style=True, width=10**6)


def extra_of(tree: Mapping[str, Any]) -> str:
    """The options of the expander, as they are typed."""
    extra = {key: value for key, value in _part(tree, "prompts").items() if key not in OWN}
    return yaml.safe_dump(extra, sort_keys=False) if extra else ""


def as_yaml(tree: Mapping[str, Any]) -> str:
    """A recipe as it is written into a file."""
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)


def from_yaml(text: str) -> dict[str, Any]:
    """A recipe that was pasted.

    Raises:
        InputError: It is no YAML, or holds no settings.
    """
    found = _mapping(text, "recipe")
    if not found:
        raise InputError("the recipe holds no settings; start it with `generator: {model: ldm-ucm}`")
    return found


def add_filter(tree: dict[str, Any], kind: str) -> None:
    """Put a filter at the end of a recipe.

    Raises:
        InputError: There is no such filter.
    """
    if kind not in FILTERS:
        raise InputError(f"filter {kind[:40]!r} is unknown; there is {', '.join(sorted(FILTERS))}")
    tree.setdefault("filters", []).append({"kind": kind})


def _filters(typed: Typed) -> Iterator[dict[str, Any]]:
    places = sorted(int(part[1]) for name in typed if (part := name.split("."))[0] == "filters" and part[-1] == "kind"
                    and len(part) == 3 and part[1].isdecimal() and len(part[1]) < 4)
    for place in places:
        tree: dict[str, Any] = {}
        kind = _first(typed, f"filters.{place}.kind")
        for field in filter_fields(kind, place):
            _take(tree, field, typed)
        yield {"kind": kind, **tree.get("filters", {}).get(str(place), {})}


def _chosen(typed: Typed) -> str | list[str]:
    if _first(typed, "prompts.classes:how") != "some":
        return "all"
    further = [each.strip() for each in _first(typed, "prompts.classes:further").split(",")]
    return list(dict.fromkeys([*typed.get(CLASSES, ()), *filter(None, further)]))


def _take(tree: dict[str, Any], field: FormField, typed: Typed) -> None:
    value = _first(typed, field.name)
    if value == "":
        return
    *parts, last = field.name.split(".")
    for part in parts:
        tree = tree.setdefault(part, {})
    tree[last] = field.read(value)


def _leaves(fields: Sequence[FormField]) -> Iterator[FormField]:
    for field in fields:
        if field.fields:
            yield from _leaves(field.fields)
        else:
            yield field


def _first(typed: Typed, name: str) -> str:
    return first(typed, name).strip()


def _part(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}


def _mapping(text: str, what: str) -> dict[str, Any]:
    try:
        found = parse_yaml(text)
    except YamlError as error:
        raise InputError(f"{what}: no YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError(f"{what}: {text[:60]!r} is no mapping; write `key: value`, one a line")
    return found
