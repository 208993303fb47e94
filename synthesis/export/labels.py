"""What is labeled in the images of a run whose model was shown layouts; exporters of labels are made on it.

Labels are functions of a row's layout: they say what was asked for. Nothing here looks at the image but for its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from terrasynth.prompts.errors import InputError as LayoutError
from terrasynth.prompts.layouts.labels import Instance, Labels, labels_at, labels_of
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.export.rows import Row, RunRows
from terrasynth.synthesis.ledger.blocks import LAYOUT

UNCHECKED = ("Labels are those of the layout that the model was shown: they say what was asked for, and nobody checked "
             "them against the image.")
Corners = Sequence[tuple[float, float]]


class ImageLabels:
    """The labels of an image.

    Attributes:
        side: Of the image, in pixels.
        drawn: The labels in the image's pixels.
        said: The labels in the layout's own pixels, of which captions and questions speak; the same where the sizes
            are.
    """

    def __init__(self, layout: Layout, side: int) -> None:
        self.side = side
        self.said: Labels = labels_of(layout)
        self.drawn: Labels = labels_at(layout, side)
        same = self.drawn is self.said
        self._by_number = {one.number if same else one.thing + 1: one for one in self.drawn.instances}

    @classmethod
    def of(cls, row: Row) -> ImageLabels:
        """Those of a row.

        Raises:
            InputError: The image is no square, which a layout is.
            RunError: The row has no layout that can be read.
        """
        width, height = row.size()
        if width != height:
            raise InputError(f"image {row.id} has {width} by {height} pixels and a layout is a square; draw squares")
        try:
            return cls(Layout.from_json(row.columns[LAYOUT]), width)
        except LayoutError as error:
            raise RunError(f"the layout of {row.id} cannot be read ({error}); `terrasynth verify` of the run says what "
                           "helps") from error

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The labeled things, in the image's pixels."""
        return self.drawn.instances

    @property
    def complete(self) -> bool:
        """Whether the image has pixels of all that its layout has labels for: else nothing is asked about it."""
        return len(self.instances) == len(self.said.instances)

    def instance(self, number: int) -> Instance:
        """The thing that has this number in `said`, in the image's pixels.

        Raises:
            KeyError: The image has no pixel of it.
        """
        return self._by_number[number]

    def is_inside(self, one: Instance) -> bool:
        """Whether its oriented box lies in the image, edges included."""
        return all(0 <= x <= self.side and 0 <= y <= self.side for x, y in one.corners)

    def corners_inside(self, one: Instance) -> Corners:
        """Its oriented corners; of a box that reaches beyond the image those of its upright box, upper left first."""
        if self.is_inside(one):
            return one.corners
        left, top, right, bottom = one.box
        return ((left, top), (right, top), (right, bottom), (left, bottom))


class LabelExporter:
    """What exporters of labels have in common.

    Attributes:
        conventions: Of coordinates and values, in a sentence or two, for the README.
    """

    name: ClassVar[str]
    conventions: str
    data_files = None

    def options(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def check(self, rows: RunRows, merged: bool) -> None:
        """Check that all rows have labels.

        Args:
            merged: Whether real rows come before those of the run.

        Raises:
            InputError: Some have none.
        """
        if LAYOUT not in rows.schema.names:
            raise InputError(f"the format {self.name} writes labels, and run {str(rows.root)!r} has no column "
                             f"{LAYOUT}: its model was shown no layout; draw with one that is (docs/layouts.md)")
        if merged:
            raise InputError(f"the format {self.name} writes labels, and real images of --merge have none, as if there "
                             "were nothing on them; leave --merge out")
