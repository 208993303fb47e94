"""What a model is told of each view of an image: a caption, and behind it class and ground distance where known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator

from terrasynth.synthesis.generators.conditions.caption import Conditioning
from terrasynth.training.data import Pair
from terrasynth.training.data.latent_views import ViewSettings, ground_distances
from terrasynth.training.errors import InputError


class TextSettings(BaseModel):
    """What a preset may set about the texts of a model that learns latent views.

    Attributes:
        conditioning: How caption, class and ground sampling distance become the text that the model reads; class and
            distance stand in square brackets, since the model learns to draw without them, too.
        gsd: Meters a pixel of the images of each data set, in the order of `--data`, for rows that do not say so
            themselves; None where it is not known.
        caption_dropout: Share of texts replaced by the empty one, which guidance draws against.
        part_dropout: Share of texts whose class, and independently whose distance, is left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    conditioning: Conditioning = Conditioning(template="{caption}[ ; {label}][ ; {gsd} m]")
    gsd: tuple[PositiveFloat | None, ...] = ()
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    part_dropout: float = Field(default=0.2, ge=0, le=1)

    @field_validator("conditioning")
    @classmethod
    def _parts_can_be_left_out(cls, conditioning: Conditioning) -> Conditioning:
        for field in ("label", "gsd"):
            if conditioning.needs(field):
                raise ValueError(f"{{{field}}} is left out of a share of the texts; put it in square brackets, as in "
                                 f"{{caption}}[ ; {{{field}}}]")
        return conditioning


class ViewTexts:
    """The texts of N images and of their views.

    Args:
        views: How they are seen.

    Attributes:
        gsd: Meters a pixel of every view, float32 (N, V); NaN where it is not known.

    Raises:
        InputError: `settings.gsd` is set, and not for every data set.
    """

    def __init__(self, pairs: Sequence[Pair], views: ViewSettings, settings: TextSettings) -> None:
        self.pairs, self.settings = pairs, settings
        self.gsd = ground_distances(pairs, views, native_gsd(pairs, settings.gsd))
        # What it is told by default is for drawing; here a distance that is left out stays out.
        self._conditioning = settings.conditioning.model_copy(update={"gsd": None})

    def of(self, row: int, view: int, which: float = 0.0, label: bool = True, distance: bool = True) -> str:
        """The text of a view.

        Args:
            row: Of the image.
            which: Of its captions, as a share in [0, 1) of their number.
            label: Whether the class is said, where it is known.
            distance: Whether the ground distance is said, where it is known.
        """
        pair, meters = self.pairs[row], float(self.gsd[row, view])
        return self._conditioning.render(
            pair.captions[int(which * len(pair.captions))], pair.label if label else "",
            meters if distance and not np.isnan(meters) else None)

    def drawn(self, row: int, view: int, chances: Sequence[float]) -> str:
        """The text of a view in training, or the empty one; four `chances` in [0, 1) say what is left out."""
        drop, which, label, distance = chances
        if drop < self.settings.caption_dropout:
            return ""
        least = self.settings.part_dropout
        return self.of(row, view, which, label >= least, distance >= least)

    def vocabulary(self) -> list[str]:
        """Every caption of every image with class and distance, for a tokenizer to learn from."""
        return [self.of(row, 0, number / len(pair.captions))
                for row, pair in enumerate(self.pairs) for number in range(len(pair.captions))]


def native_gsd(pairs: Sequence[Pair], by_source: Sequence[float | None]) -> list[float | None]:
    """Meters a pixel of each image as it is on disk: its row's own, or that of its data set.

    Raises:
        InputError: `by_source` is not empty, and too short for the data sets.
    """
    found: list[float | None] = []
    for pair in pairs:
        if by_source and pair.source >= len(by_source):
            raise InputError(f"model.gsd has {len(by_source)} entries; give one for each --data, null where the "
                             "distance is not known")
        found.append(pair.gsd if pair.gsd is not None or not by_source else by_source[pair.source])
    return found
