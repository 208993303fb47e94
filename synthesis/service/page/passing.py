"""From which score on each filter lets an image pass: what a run found, and which setting says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters import FILTERS, FilterSettings
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.service.files import read_file

MOST_BYTES = 32 * 2**20
LOWEST, HIGHEST = "min_", "max_"


@dataclass(frozen=True)
class Bound:
    """The setting of a filter that is a score.

    Attributes:
        filter: Name of the filter in the recipe.
        place: Its place in the recipe.
        setting: Field of its settings, such as "min_score".
        lowest: Whether it is the lowest score that passes; else the highest.
    """

    filter: str
    place: int
    setting: str
    lowest: bool

    def passes(self, score: float, threshold: float) -> bool:
        """Whether an image of that score stays."""
        return score >= threshold if self.lowest else score <= threshold

    def in_words(self, threshold: float) -> str:
        """The threshold as people write it."""
        return f"{'≥' if self.lowest else '≤'} {threshold:.3f}"


def bounds(recipe: Recipe) -> list[Bound]:
    """The filters of a recipe whose scores are compared with a number that can be set."""
    found = []
    for place, (name, settings) in enumerate(zip(recipe.filter_names, recipe.filters, strict=True)):
        setting = _setting(settings)
        if setting is not None:
            found.append(Bound(name, place, setting, setting.startswith(LOWEST)))
    return found


def _setting(settings: FilterSettings) -> str | None:
    """The field that holds an absolute threshold; the one that the filter has now, where there are several."""
    fields = [name for name, field in type(settings).model_fields.items()
              if name.startswith((LOWEST, HIGHEST)) and float in (field.annotation, *get_args(field.annotation))]
    given = [name for name in fields if getattr(settings, name) is not None]
    if given or len(fields) < 2:
        return next(iter(given or fields), None)
    return next((name for name in fields if _allowed(settings, name)), None)


def _allowed(settings: FilterSettings, name: str) -> bool:
    try:
        changed(settings.model_dump(exclude_none=True), name, 0.5)
    except ValueError:
        return False
    return True


def changed(settings: Mapping[str, Any], name: str, threshold: float) -> dict[str, Any]:
    """Settings of a filter with another absolute threshold, in the place of whatever gave it before.

    Args:
        settings: Of the filter, as a recipe has them.
        name: Field of the threshold.

    Raises:
        ValueError: The filter does not take it.
    """
    kind = FILTERS[str(settings["kind"])]
    numbers = {field for field, about in kind.model_fields.items() if about.default is None}
    kept = {field: value for field, value in settings.items() if field not in numbers}
    return kind.model_validate({**kept, name: threshold}).model_dump(exclude_none=True)


def thresholds(run: Path) -> dict[str, Mapping[str, float]]:
    """The scores that decide in a run, by filter and class; a class "" is all of them. Empty before its report.

    Raises:
        InputError: Its report cannot be read.
    """
    content = read_file(run / layout.REPORT, MOST_BYTES)
    if content is None:
        return {}
    try:
        found = json.loads(content)["histograms"]
        return {str(each["name"]): {str(label): float(value) for label, value in each["thresholds"].items()}
                for each in found}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{layout.REPORT} cannot be read; run the data set again to have it made anew") from error


def threshold_of(known: Mapping[str, Mapping[str, float]], name: str, label: str) -> float | None:
    """The score that decides for a class; None where that is not known."""
    of_filter = known.get(name, {})
    return of_filter.get(label, of_filter.get(""))
