"""Put what was trained into a recipe, whose comments and order stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from terrasynth.prompts.scenes.draft_text import flow
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.recipe import Recipe
from terrasynth.training.errors import InputError
from terrasynth.training.judges.card import TrainedJudge, filters_of
from terrasynth.training.presets import Preset

BY_HAND = "leave --recipe out, and write the line that the training prints at its end into the recipe"
LATEST = 1000  # held-out images; only where a judge goes, and not which threshold it has, is asked before it is made


def check_recipe(recipe: Path, name: str, preset: Preset, out: Path, base: str | None) -> None:
    """Check, before a training, that its result can be put into a recipe.

    Args:
        recipe: Its file.
        name: What the preset is called.
        out: Where the result will lie.
        base: What the training starts from.

    Raises:
        InputError: The recipe cannot be read or has no place for it, or the preset makes no judge and no LoRA.
    """
    if preset.family == "judge":
        _with_judge(recipe, out, LATEST)
    elif preset.family in ("finetune", "distil") and preset.model.get("method") == "lora":
        _with_lora(recipe, base or "", out)
    else:
        raise InputError(f"--recipe {str(recipe)!r}: preset {name!r} makes no judge and no LoRA; leave --recipe out")


def put_judge(recipe: Path, judge: TrainedJudge) -> str:
    """Put a judge's filters into a recipe; what is said of it, on one line.

    Args:
        recipe: Its file, which is replaced.

    Raises:
        InputError: It cannot be read, or has no place for them.
    """
    return _put(recipe, _with_judge(recipe, judge.out, judge.figures.accuracy.n), f"the filters of {judge.out}")


def put_lora(recipe: Path, base: str, folder: Path) -> str:
    """Put a LoRA and its base into a recipe; what is said of it, on one line.

    Args:
        recipe: Its file, which is replaced.
        base: What the LoRA was trained on.
        folder: Where it lies.

    Raises:
        InputError: It cannot be read, or has no place for it.
    """
    return _put(recipe, _with_lora(recipe, base, folder), f"{base} with the LoRA {folder}")


def _put(recipe: Path, text: str, what: str) -> str:
    if text == recipe.read_text(encoding="utf-8"):
        return f"{recipe} has {what} already"
    write_file(recipe, text)
    return f"{recipe} has {what} now"


def _with_lora(recipe: Path, base: str, folder: Path) -> str:
    text, nodes = _read(recipe)
    generator = nodes.get("generator")
    if not isinstance(generator, yaml.MappingNode):
        raise InputError(f"{recipe} names no generator; {BY_HAND}")
    parts = {key.value: value for key, value in generator.value}
    if "model" not in parts:
        raise InputError(f"{recipe} names no generator.model; {BY_HAND}")
    model = parts["model"]
    edits = {(model.start_mark.index, model.end_mark.index): flow(base)}
    if "lora" in parts:
        edits[parts["lora"].start_mark.index, parts["lora"].end_mark.index] = flow(str(folder))
    elif generator.flow_style:
        edits[model.start_mark.index, model.end_mark.index] += f", lora: {flow(str(folder))}"
    else:
        end = text.find("\n", model.end_mark.index)
        edits[end, end] = f"\n{' ' * generator.start_mark.column}lora: {flow(str(folder))}"
    return _checked(recipe, _edited(text, edits))


def _with_judge(recipe: Path, judge: Path, images: int) -> str:
    text, nodes = _read(recipe)
    wanted = filters_of(judge, images)
    filters = nodes.get("filters")
    own = [each for each in (filters.value if isinstance(filters, yaml.SequenceNode) else ())
           if isinstance(each, yaml.MappingNode)]
    roles = [(key.value, value.value) for each in own for key, value in each.value]
    if any((role, str(judge)) in roles for role in ("encoder", "classifier")):
        return text
    commented = re.compile(r"^#( *- \{kind: \w+, (?:encoder|classifier): (.+?), \w+: .*)$", re.M)
    found = [match for match in commented.finditer(text) if yaml.safe_load(match[2]) == str(judge)]
    if found:
        return _checked(recipe, _edited(text, {match.span(): match[1] for match in found}))
    if not isinstance(filters, yaml.SequenceNode) or filters.flow_style:
        raise InputError(f"{recipe} has no list of filters with a line each; {BY_HAND}")
    start = filters.start_mark
    lines = "".join(f"- {line}\n{' ' * start.column}" for line in wanted)
    return _checked(recipe, _edited(text, {(start.index, start.index): lines}))


def _read(recipe: Path) -> tuple[str, dict[str, yaml.Node]]:
    """The text of a recipe that is one, and its parts with their places."""
    if not recipe.is_file():
        raise InputError(f"--recipe {str(recipe)!r} is no file; `terrasynth init` writes a recipe to begin with")
    Recipe.load(recipe)
    text = recipe.read_text(encoding="utf-8")
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    return text, {key.value: value for key, value in tree.value} if isinstance(tree, yaml.MappingNode) else {}


def _edited(text: str, edits: Mapping[tuple[int, int], str]) -> str:
    for (first, last), put in sorted(edits.items(), reverse=True):
        text = text[:first] + put + text[last:]
    return text


def _checked(recipe: Path, text: str) -> str:
    try:
        Recipe.parse(yaml.safe_load(text))
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{recipe} would be no recipe with it ({error}); {BY_HAND}") from error
    return text
