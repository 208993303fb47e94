"""The filters a recipe may list.

To add a filter, write a `FilterSettings` subclass with its `ClassJudge` in a file of its own, and add it to
`AnyFilter`: nothing else names filters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Field

from synthesis.filter_alignment import DEFAULT_ENCODER, AlignmentFilter
from synthesis.filter_base import THUMBNAIL, ClassJudge, FilterSettings, Measurements, Source
from synthesis.filter_duplicate import DuplicateFilter
from synthesis.filter_near_copy import NearCopyFilter
from synthesis.filter_quality import QualityFilter
from synthesis.filter_scene import SceneFilter

__all__ = [
    "DEFAULT_ENCODER", "FILTERS", "THUMBNAIL", "AlignmentFilter", "AnyFilter", "ClassJudge", "DuplicateFilter",
    "FilterSettings", "Measurements", "NearCopyFilter", "QualityFilter", "SceneFilter", "Source",
]

AnyFilter = Annotated[
    AlignmentFilter
    | SceneFilter
    | QualityFilter
    | DuplicateFilter
    | NearCopyFilter,
    Field(discriminator="kind"),
]
FILTERS: Mapping[str, type[FilterSettings]] = {
    member.model_fields["kind"].default: member for member in get_args(get_args(AnyFilter)[0])
}
