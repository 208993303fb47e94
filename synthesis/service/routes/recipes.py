"""`/v1/recipes`: what a recipe may say, and the recipes that are shipped."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from terrasynth.errors import nearest
from terrasynth.synthesis.recipe import SHIPPED, Recipe
from terrasynth.synthesis.service.problems import Problem

router = APIRouter(prefix="/v1/recipes", tags=["recipes"])


class RecipeList(BaseModel):
    """The names of the recipes that are shipped."""

    recipes: list[str] = Field(examples=[["demo"]])


@router.get("", summary="List shipped recipes")
def list_recipes() -> RecipeList:
    """Each is a start for one of your own."""
    return RecipeList(recipes=_names())


@router.get("/schema", summary="What a recipe may say")
def schema() -> dict[str, Any]:
    """A JSON Schema, for forms and editors."""
    return Recipe.model_json_schema()


@router.get("/{name}", summary="A shipped recipe")
def get(name: Annotated[str, Path(max_length=96)]) -> dict[str, Any]:
    """As a job takes it."""
    if name not in _names():
        raise Problem(404, "unknown_recipe", f"recipe {name!r} is not shipped{nearest(name, _names())}; there is "
                      f"{', '.join(_names())}")
    return Recipe.load(name).tree()


def _names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))
