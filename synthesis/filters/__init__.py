"""The filters that a recipe may list: those of this package, and those of plug-ins.

To add a filter, write a `FilterSettings` subclass with its `ClassJudge` in a file of its own, and add it to `BuiltIn`;
or name it under the entry-point group `terrasynth.filters` of a package of your own, by its `kind`. Nothing else names
filters.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import Field

from terrasynth.prompts.plugins import Plugins
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters.alignment import DEFAULT_ENCODER, AlignmentFilter
from terrasynth.synthesis.filters.base import THUMBNAIL, ClassJudge, FilterSettings, Measurements, Measurer, Source
from terrasynth.synthesis.filters.duplicate import DuplicateFilter
from terrasynth.synthesis.filters.layout import LayoutFilter
from terrasynth.synthesis.filters.near_copy import NearCopyFilter
from terrasynth.synthesis.filters.quality import QualityFilter
from terrasynth.synthesis.filters.review import ReviewFilter
from terrasynth.synthesis.filters.scene import SceneFilter

__all__ = [
    "BUILT_IN", "DEFAULT_ENCODER", "FILTERS", "THUMBNAIL", "AlignmentFilter", "AnyFilter", "ClassJudge",
    "DuplicateFilter", "FilterSettings", "LayoutFilter", "Measurements", "Measurer", "NearCopyFilter", "QualityFilter",
    "ReviewFilter", "SceneFilter", "Source", "base", "measurers", "pairs", "training_features", "why_not",
]

BuiltIn = AlignmentFilter | SceneFilter | QualityFilter | DuplicateFilter | NearCopyFilter | ReviewFilter | LayoutFilter
BUILT_IN: Mapping[str, type[FilterSettings]] = {
    member.model_fields["kind"].default: member for member in get_args(BuiltIn)
}
"""The filters of this package by kind."""

log = logging.getLogger("terrasynth")
_PLUGINS = Plugins("terrasynth.filters", "filter", InputError)


def _load(name: str) -> type[FilterSettings]:
    """The settings of a plug-in's filter.

    Raises:
        InputError: It cannot be loaded, or is no filter of that kind.
    """
    if name in BUILT_IN:
        raise InputError(f"a package under terrasynth.filters calls its filter {name!r}, as one of TerraSynth's own "
                         "is called; it needs another name")
    found: type[FilterSettings] = _PLUGINS.load(name)
    field = found.model_fields.get("kind") if isinstance(found, type) and issubclass(found, FilterSettings) else None
    if field is None or get_args(field.annotation) != (name,) or field.default != name:
        raise InputError(f"filter {name!r} is no FilterSettings with the field kind: Literal[{name!r}] = {name!r}")
    return found


def why_not(kind: str) -> str:
    """Why a filter that an installed package offers cannot be used; "" where there is none of that name."""
    if kind not in _PLUGINS.names():
        return ""
    try:
        _load(kind)
    except InputError as error:
        return str(error)
    return (f"filter {kind!r} could not be loaded while terrasynth.synthesis.filters was: its module was "
            "imported first, or imports more of terrasynth.synthesis than its filters at its top; import "
            "terrasynth.synthesis.filters before it")


def _installed() -> dict[str, type[FilterSettings]]:
    """The filters of plug-ins by kind; those that cannot be loaded are named where a recipe asks for them."""
    found = {}
    for name in _PLUGINS.names():
        try:
            found[name] = _load(name)
        except InputError as error:
            if name in BUILT_IN:
                log.warning("%s", error)
    return found


FILTERS: Mapping[str, type[FilterSettings]] = {**BUILT_IN, **_installed()}
"""All filters that a recipe may name, by kind."""

if TYPE_CHECKING:
    AnyFilter = BuiltIn
else:
    AnyFilter: Any = Annotated[Union[tuple(FILTERS.values())], Field(discriminator="kind")]  # noqa: UP007
