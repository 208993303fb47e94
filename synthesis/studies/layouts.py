"""Do the images of a run show what their layouts say? A segmenter reads them, and real images with their own masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.figure import Figure
from terrasynth.eval.metrics.segmentation import confusion, intersection_over_union, mean_iou
from terrasynth.eval.models.segmenters import Segmenter
from terrasynth.eval.table import Table
from terrasynth.prompts.layouts.catalog import SIX
from terrasynth.prompts.layouts.labels import labels_at
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.ledger.blocks import LAYOUT
from terrasynth.synthesis.ledger.pictures import read_rows

BATCH, LEAST, SHOWN = 64, 2, 8


@dataclass(frozen=True)
class Agreement:
    """What a segmenter sees in images against what lies there.

    Attributes:
        mean: Mean intersection over union of the classes that are there.
        by_class: Intersection over union of each class that is there.
    """

    mean: Figure
    by_class: Mapping[str, float]

    @classmethod
    def of(cls, counts: NDArray[np.int64], seed: int) -> Agreement:
        """Of a confusion for each image, (N, C, C)."""
        both = counts.sum(0)
        found = intersection_over_union(both)
        there = {name: float(value) for name, value, row in zip(SIX, found, both, strict=True) if row.sum()}
        return cls(mean_iou(counts, seed), there)

    def record(self) -> dict[str, object]:
        """JSON-able."""
        return {"mean_iou": self.mean.value, "low": self.mean.low, "high": self.mean.high, "n": self.mean.n,
                "iou": dict(self.by_class)}


@dataclass(frozen=True)
class LayoutAgreement:
    """How far images show their layouts.

    Attributes:
        segmenter: Identity of the network that read them.
        drawn: Images of a run against their own layouts.
        null: The same images against the layouts of others: what is agreed by chance.
        real: Real images against their own masks: what the network can see at all. None where none are given.
        seed: Of the resamples, and of which other layout an image is compared with.
    """

    segmenter: Mapping[str, object]
    drawn: Agreement
    null: Agreement
    real: Agreement | None
    seed: int

    def lines(self) -> list[str]:
        """The figures, a line each, and what they come to."""
        said = [f"mean IoU  {self.drawn.mean}; of other layouts {self.null.mean}"
                + (f"; real images {self.real.mean}" if self.real else "")]
        if self.real:
            share, chance = (each.mean.value / self.real.mean.value for each in (self.drawn, self.null))
            said.append(f"share     {share:.2f} of that of real images; of other layouts {chance:.2f}")
        return [*said, *self.table().columns(), f"segmenter {self.segmenter.get('model', self.segmenter.get('kind'))}, "
                f"seed {self.seed}; the classes are the six of a land-cover map"]

    def table(self) -> Table:
        """Intersection over union by class."""
        rows = [(name, *(_shown(each.by_class.get(name)) for each in self._columns())) for name in SIX
                if any(name in each.by_class for each in self._columns())]
        return Table(("class", "drawn", "other layouts", *(["real"] if self.real else [])), tuple(rows))

    def _columns(self) -> list[Agreement]:
        return [self.drawn, self.null, *([self.real] if self.real else [])]

    def record(self) -> dict[str, object]:
        """JSON-able."""
        return {"segmenter": dict(self.segmenter), "seed": self.seed, "drawn": self.drawn.record(),
                "null": self.null.record(), "real": self.real.record() if self.real else None}


def measure_layouts(
    run: Path, segmenter: Segmenter, real: Callable[[int], tuple[NDArray[np.uint8], NDArray[np.uint8]]] | None = None,
    limit: int | None = None, seed: int = 0,
) -> LayoutAgreement:
    """Read the accepted images of a run, and compare what is seen with their layouts.

    Args:
        segmenter: A network of the six classes of a land-cover map (`prompts.layouts.catalog.SIX`).
        real: From a side in pixels to real images uint8 (N, side, side, 3) and what they show, uint8 (N, side, side),
            values as `SIX`.
        limit: Most images of the run; None for all.

    Raises:
        InputError: The run has no layouts, fewer than two images, or the segmenter has other classes.
        RunError: A file of the run is damaged.
    """
    check_segmenter(segmenter)
    images, layouts = _rows(run, limit)
    truth = np.stack([labels_at(Layout.from_json(text), images.shape[1]).six() for text in layouts])
    seen = _seen(segmenter, images)
    order = np.random.default_rng(seed).permutation(len(truth))
    shuffled = np.empty_like(truth)
    shuffled[order] = truth[np.roll(order, 1)]
    found = None
    if real is not None:
        others, shown = real(images.shape[1])
        found = Agreement.of(_counts(shown, _seen(segmenter, others)), seed)
    return LayoutAgreement(segmenter.identity(), Agreement.of(_counts(truth, seen), seed),
                           Agreement.of(_counts(shuffled, seen), seed), found, seed)


def check_segmenter(segmenter: Segmenter) -> None:
    """Check that a segmenter tells the six classes of a land-cover map.

    Raises:
        InputError: It has others.
    """
    if tuple(segmenter.labels) != SIX:
        shown = ", ".join(segmenter.labels[:SHOWN]) + ", ..." * (len(segmenter.labels) > SHOWN)
        raise InputError(f"the segmenter knows {shown}, and layouts are read as {', '.join(SIX)}; train one with "
                         "`terrasynth train segmenter`")


def _seen(segmenter: Segmenter, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([segmenter.segment(images[first:first + BATCH]) for first in range(0, len(images), BATCH)])


def _counts(truth: NDArray[np.uint8], seen: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.stack([confusion(one, other, len(SIX)) for one, other in zip(truth, seen, strict=True)])


def _rows(run: Path, limit: int | None) -> tuple[NDArray[np.uint8], list[str]]:
    rows = read_rows(run, ("image", LAYOUT), limit)
    if LAYOUT not in rows[0]:
        raise InputError(f"{str(run)!r} has no layouts: its generator was shown none; give it generator.control, or a "
                         "model that is shown layouts, with the expander layout")
    if len(rows) < LEAST:
        raise InputError(f"{str(run)!r} has one accepted image, and a layout is compared with that of another one; "
                         f"{LEAST} are the least")
    return np.stack([decode(row["image"]["bytes"]) for row in rows]), [row[LAYOUT] for row in rows]


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
