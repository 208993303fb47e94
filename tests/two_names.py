"""A filter that takes the name of another beside its own."""

from typing import Literal

from terrasynth.synthesis.filters import FilterSettings, QualityFilter


class TwoNames(QualityFilter):
    kind: Literal["brightness", "scene"] = "brightness"


assert issubclass(TwoNames, FilterSettings)
