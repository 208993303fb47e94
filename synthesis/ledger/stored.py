"""A block that is stored: what this process wrote is still at hand, the rest is read when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Self

from terrasynth.prompts.layouts.changes import layout_after
from terrasynth.synthesis.filters import Measurements
from terrasynth.synthesis.ledger.blocks import EDIT, IMAGE_AFTER, LAYOUT, TEXT_AFTER, Attempt, Blocks


class Content(NamedTuple):
    """What is measured of a block, and the ids by which measurements are known again.

    Attributes:
        ids: Of the N attempts.
        texts: Of the N attempts.
        images: N encoded images.
        layouts: JSON of what each was drawn by; "" for none.
        after: The same of the images after, of pairs; None of single images.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    images: Sequence[bytes]
    layouts: Sequence[str]
    after: Content | None = None

    @classmethod
    def of(cls, attempts: Sequence[Attempt]) -> Content:
        """That of attempts."""
        ids, texts, images, layouts = ([getattr(each, name) for each in attempts]
                                       for name in ("id", "text", "image", LAYOUT))
        if not any(each.edit for each in attempts):
            return cls(ids, texts, images, layouts)
        later = [layout_after(each.layout, each.edit) for each in attempts]
        return cls(ids, texts, images, layouts, cls(
            ids, [each.text_after for each in attempts], [each.image_after for each in attempts], later))


@dataclass
class StoredBlock:
    """One block of the ledger. Its file is opened once a kind of content, and not at all by the process that wrote it.

    Attributes:
        index: Place of the block in its class.
        measured: Measurements so far, by the key of the model.
        fresh: Written by this process, so that nothing else has measured it.
    """

    blocks: Blocks
    label: str
    index: int
    measured: dict[str, Measurements] = field(default_factory=dict)
    fresh: bool = False

    @classmethod
    def written(cls, blocks: Blocks, label: str, index: int, attempts: Sequence[Attempt],
                measured: dict[str, Measurements], withheld: tuple[int, ...]) -> Self:
        """A block as it was just written.

        Args:
            index: Place of the block in its class.
            measured: Measurements, by the key of the model.
            withheld: Rows whose images the model's safety checker made black.
        """
        made = cls(blocks, label, index, measured, fresh=True)
        made.content = Content.of(attempts)
        made.withheld = withheld
        return made

    @classmethod
    def found(cls, blocks: Blocks, label: str, index: int) -> Self:
        """A block that is there, whose ids are those of its place; what its file says of itself is taken at once.

        Args:
            index: Place of the block in its class.

        Raises:
            RunError: The file is damaged, or holds other attempts than its place.
        """
        known, table = cls(blocks, label, index), blocks.read(label, index, ["id"])
        known.withheld = blocks.withheld_in(blocks.path(label, index), table.schema.metadata or {})
        return known

    @cached_property
    def content(self) -> Content:
        """Ids, texts, images and layouts; of pairs those of both images.

        Raises:
            RunError: The file is damaged, or holds other attempts than its place.
        """
        own = [LAYOUT] if LAYOUT in self.blocks.schema.names else []
        table = self.blocks.read(self.label, self.index, ["id", "text", "image", *own]).to_pydict()
        layouts = table.get(LAYOUT, [""] * len(table["id"]))
        after = None
        if self.blocks.has_pairs:
            later = self.blocks.read(self.label, self.index, [EDIT, IMAGE_AFTER, TEXT_AFTER]).to_pydict()
            after = Content(table["id"], later[TEXT_AFTER], [image["bytes"] for image in later[IMAGE_AFTER]],
                            [layout_after(*each) for each in zip(layouts, later[EDIT], strict=True)])
        return Content(table["id"], table["text"], [image["bytes"] for image in table["image"]], layouts, after)

    @cached_property
    def withheld(self) -> tuple[int, ...]:
        """Rows whose images the model's safety checker made black.

        Raises:
            RunError: The file is damaged.
        """
        return self.blocks.withheld(self.label, self.index)

    def measurements(self, key: str, kind: str, reads_text: bool = False) -> Measurements | None:
        """What a model measured, in this process or before; None where it has not seen the block.

        Args:
            key: Of the model.
            kind: What its numbers are.
            reads_text: Whether it measures the alignment with the texts.

        Raises:
            RunError: A file is damaged, or holds measurements of other attempts.
        """
        if key not in self.measured:
            known = None if self.fresh else self.blocks.measurements(self.label, self.index, key, kind, reads_text)
            if known is None:
                return None
            self.measured[key] = known
        return self.measured[key]

    def keep(self, key: str, measured: Measurements) -> None:
        """Keep what a model measured, here and on disk beside the block."""
        self.blocks.write_measurements(self.label, self.index, key, measured, self.content.ids)
        self.measured[key] = measured
