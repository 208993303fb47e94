"""How a pipeline is shown a layout: as a map in colors that it was trained with, or as boxes with words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.labels import labels_of
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.palettes import SIX_COLORS, Colors, color_map, colors_of
from terrasynth.synthesis.core.errors import InputError

BOXES = "StableDiffusionGLIGENPipeline"
MAPS = ("StableDiffusionControlNetPipeline", "StableDiffusionXLControlNetPipeline", "StableDiffusionAdapterPipeline",
        "StableDiffusionXLAdapterPipeline")
"""Classes of diffusers that are shown a layout beside a text."""

ARGUMENTS = ("image", "gligen_phrases", "gligen_boxes")
"""Of the calls of such pipelines: what shows them a layout."""

MOST_BOXES = 30  # that diffusers' GLIGEN takes
BOXED_SHARE = "gligen_scheduled_sampling_beta"  # of the steps, the first, in which it looks at them
USUAL_SHARE = 0.3  # of diffusers


@dataclass(frozen=True)
class LayoutReading:
    """How one pipeline is shown layouts.

    Attributes:
        colors: Of the map, as a palette's name or by class; None for a pipeline that reads boxes with words.
    """

    colors: Colors | None

    def identity(self) -> dict[str, object]:
        """What decides what a model is shown, JSON-able."""
        if self.colors is None:
            return {"boxes": 1}
        found = {name: list(color) for name, color in colors_of(self.colors).items()}
        return {"map": 1, "six": self.colors == SIX_COLORS, "colors": found}

    def arguments(self, layouts: Sequence[str], size: tuple[int, int]) -> dict[str, Any]:
        """The arguments of a pipeline's call that show it layouts.

        Args:
            layouts: JSON of one layout an image, as `Prompt.layout` has it; "" for an empty one. Of a pipeline that
                reads boxes exactly one: it shows the same boxes to all images of a call.
            size: Height and width of the images in pixels.

        Raises:
            InputError: The images are no squares, or a text is no layout.
        """
        if self.colors is None:
            (one,) = layouts
            return _boxes(one)
        return {"image": [Image.fromarray(_map(text, self.colors, size)) for text in layouts]}

    def tells_apart(self, one: Layout, other: Layout, side: int) -> bool:
        """Whether a pipeline is shown two layouts differently, in images of so many pixels a side."""
        if self.colors is None:
            return _boxes(one.to_json()) != _boxes(other.to_json())
        return bool((color_map(one, self.colors, side) != color_map(other, self.colors, side)).any())


def _map(text: str, colors: Colors, size: tuple[int, int]) -> NDArray[np.uint8]:
    if not text:
        return np.zeros((*size, 3), np.uint8)
    if size[0] != size[1]:
        raise InputError(f"a layout is a square, and the images are {size[1]} x {size[0]} px; set generator.height and "
                         "width to the same number")
    return color_map(Layout.from_json(text), colors, size[0])


def _boxes(text: str) -> dict[str, Any]:
    """Upright boxes from 0 to 1 (left, top, right, bottom) with their words; the largest, where there are too many."""
    labels = labels_of(Layout.from_json(text)) if text else None
    if labels is None or not labels.instances:  # told nothing, it draws by the text alone
        return {"gligen_phrases": [""], "gligen_boxes": [[0.0, 0.0, 0.0, 0.0]], BOXED_SHARE: 0.0}
    things, side = load_catalog().things, labels.layout.pixels
    largest = sorted(labels.instances, key=lambda one: -one.pixels)[:MOST_BOXES]
    return {
        "gligen_phrases": [f"{one.color} {things[one.kind].noun}".strip() for one in largest],
        "gligen_boxes": [[edge / side for edge in one.box] for one in largest],
    }
