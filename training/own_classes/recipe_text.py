"""The recipe that a start writes, with comments for whoever edits it."""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path

import jinja2

from terrasynth.errors import how_to_install
from terrasynth.training.judges.card import filters_of
from terrasynth.training.own_classes.look import some
from terrasynth.training.own_classes.start import EMBEDDED, SOME_STEPS, Start

TEMPLATES = Path(__file__).parent / "templates"
PAIRS = "pairs.jsonl"
HUB = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def recipe_text(start: Start) -> str:
    """The YAML of the recipe."""
    return _environment().get_template("recipe.yaml.jinja").render(
        start=start, hub=HUB, model=start.wishes.model, embedded=start.wishes.model == EMBEDDED,
        names=some(start.strangers), images=start.look is not None,
        known_judge=start.embedded_suffices, ontology="" if start.embedded_suffices else str(start.ontology),
        recipe=start.recipe, data=start.data_file,
        captions=_captions(start), lora=start.recipe.with_name("lora"), hub_lora=start.recipe.with_name("lora-sd15"),
        judge=start.recipe.with_name("judge"), judge_filters=_judge_filters(start), unjudged=_why_not(start),
        some_steps=SOME_STEPS, licence=_licence(start), install_review=how_to_install("service"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined,
                                     keep_trailing_newline=True, autoescape=False)  # YAML, not HTML
    environment.filters |= {"json": _json, "shell": lambda value: shlex.quote(str(value))}
    return environment


def _captions(start: Start) -> str:
    """The file of captions that the expander of that name reads as it is; "" where there is none."""
    if start.look is None or start.look.data.layouts[0] != PAIRS or start.splits is not None:
        return ""
    file = Path(start.source) / PAIRS
    return str(file) if file.is_file() else ""


def _judge_filters(start: Start) -> list[tuple[str, str]]:
    """The filters that a judge will serve, as it will say itself, and what each asks."""
    if not start.judged:
        return []
    lines = filters_of(start.recipe.with_name("judge"), start.in_splits("val", "test"))
    return list(zip(lines, ("the text is true of the image", "the image shows its class"), strict=True))


def _why_not(start: Start) -> str:
    if start.look is None:
        return "there are no images"
    return "there is one class alone" if len(start.labels) < 2 else "not every class has images in train and in val"


def _licence(start: Start) -> str:
    if start.look is None:
        return "There are no images of yours in it."
    return f"Your images are under {start.licence}." if start.licence else "Nothing says what your images are under."


def _json(value: object) -> str:
    """A text or a path as YAML reads it: JSON."""
    return json.dumps(str(value), ensure_ascii=False)
