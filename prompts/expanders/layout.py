"""The `layout` expander: draws a scene with places, and says of it what is true; offline."""

from __future__ import annotations

from pathlib import Path

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import catalog_hash
from terrasynth.prompts.layouts.drawing import CLASSES, REVISION, draw_layout
from terrasynth.prompts.layouts.labels import labels_of
from terrasynth.prompts.layouts.layout import MOST_PIXELS, Layout
from terrasynth.prompts.layouts.masks import Masks, mask_layout, read_masks
from terrasynth.prompts.layouts.saying import captions, choose, scene_of
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.scenes.entailment import DrawnPrompt
from terrasynth.prompts.types import Prompt, check_request

CAPTIONS = 5


class LayoutExpander:
    """Endless prompts, each with a layout: what lies where, in meters (docs/layouts.md).

    Layouts are drawn by rules (streets first, houses along them, cars in their lanes), or cut from masks of the user's
    own. Text and captions say numbers, colors, sides and relations that the labels of the layout have.

    Attributes:
        classes: The labels that have rules; of masks, the one that their `classes.yaml` names.
    """

    name = "layout"

    def __init__(self, size: int = 256, gsd: float | None = None, min_pixels: int = 12,
                 masks: str | Path | None = None) -> None:
        """Check the options, and read the masks.

        Args:
            size: Of the images, in pixels a side.
            gsd: Meters a pixel; null for what images of each class have. Masks have their own.
            min_pixels: A thing that fills fewer pixels is not labeled and not counted.
            masks: A folder of PNG masks with a `classes.yaml`; layouts are cut from them, turned and recombined.

        Raises:
            InputError: An option is out of range, or the masks are wrong.
        """
        _whole("size", size, 16, MOST_PIXELS)
        _whole("min_pixels", min_pixels, 1, size * size)
        if gsd is not None and not (isinstance(gsd, int | float) and 0.05 <= gsd <= 30):
            raise InputError(f"option gsd {gsd!r} of the layout expander has to be 0.05 to 30 m a pixel")
        if gsd is not None and masks is not None:
            raise InputError(f"option gsd {gsd!r} of the layout expander and masks exclude each other: classes.yaml of "
                             "the masks has it")
        self._size, self._gsd, self._min_pixels = size, gsd, min_pixels
        self._masks: Masks | None = None if masks is None else read_masks(masks, size)
        self.classes: tuple[str, ...] = CLASSES if self._masks is None else (self._masks.label,)

    def identity(self) -> dict[str, object]:
        """Expander, revision of the rules, hashes of catalog and masks, and the options."""
        own = {} if self._masks is None else {"masks": self._masks.hash}
        return {"expander": self.name, "revision": REVISION, "catalog": catalog_hash(), "size": self._size,
                "gsd": self._gsd, "min_pixels": self._min_pixels, **own}

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; `Prompt.layout` is a layout as JSON, `Prompt.scene` what the text says of it."""
        check_request(self, label, start, count)
        return [self._prompt(label, seed, k) for k in range(start, start + count)]

    def layout(self, label: str, seed: int, k: int) -> Layout:
        """The layout of an attempt."""
        if self._masks is not None:
            return mask_layout(self._masks, seed, k, self._size, self._min_pixels)
        return draw_layout(label, seed, k, self._size, self._gsd, self._min_pixels)

    def _prompt(self, label: str, seed: int, k: int) -> Prompt:
        layout = self.layout(label, seed, k)
        draws = Draws("layout texts", label, seed, k)
        said = choose(labels_of(layout), draws)
        ways = captions(said, draws, CAPTIONS)
        return DrawnPrompt(ways[0], label, ways, self.name, scene_of(said).to_json(), most=CAPTIONS,
                           layout=layout.to_json())


def _whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"option {name} {value!r} of the layout expander has to be a whole number from {least} to "
                         f"{most}")
