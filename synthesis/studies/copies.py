"""Does a run copy training images, or itself? Figures as JSON, and the nearest pairs as a sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.ledger.pictures import RunPictures

if TYPE_CHECKING:
    from terrasynth.eval.copies.measures import Measure
    from terrasynth.eval.copies.memorisation import Memorisation
    from terrasynth.eval.copies.repetition import Repetition
    from terrasynth.eval.pages.sheets import PairItem
    from terrasynth.synthesis.core.real_pictures import RealPictures

HASH = "hash"
PAIRS = 12
"""Pairs of each measure that a sheet shows."""


def load_measures(references: Sequence[str], cache: Path | None = None) -> list[Measure]:
    """Ways to compare images.

    Args:
        references: "hash", "detail", "registered", or whatever `load_picture_encoder` takes ("thumbnail",
            "clip-ucm-b", ...).
        cache: Folder that keeps features; None for none.

    Raises:
        InputError: There is no such encoder, or the folder cannot be written.
    """
    from terrasynth.eval.copies.measures import FeatureMeasure, HashMeasure, RegisteredMeasure
    from terrasynth.eval.copies.registration import REGISTERED
    from terrasynth.eval.models.feature_cache import CachedEncoder
    from terrasynth.eval.models.loaders import load_picture_encoder
    from terrasynth.eval.models.thumbnail import DETAIL, DetailEncoder

    def load(reference: str) -> Measure:
        if reference == HASH:
            return HashMeasure()
        if reference == REGISTERED:
            return RegisteredMeasure()
        if reference == DETAIL:
            return FeatureMeasure(DETAIL, DetailEncoder())
        return FeatureMeasure(reference, CachedEncoder(load_picture_encoder(reference), cache))

    with quiet():
        return [load(reference) for reference in dict.fromkeys(references)]


def judge_memorisation(
    made: RunPictures, train: RealPictures, held_out: RealPictures, measures: Sequence[Measure], seed: int, out: Path,
    about: dict[str, Any],
) -> Memorisation:
    """Compare a run with what its generator was trained on; writes `memorisation.json` and `nearest_train.png`.

    Args:
        train: What the generator was trained on, at the size of the run.
        held_out: Real images that it was not trained on, at that size.
        about: What else the JSON is to say.

    Raises:
        InputError: Too few images.
    """
    from terrasynth.eval.copies.memorisation import memorisation
    from terrasynth.eval.pages.sheets import PairItem

    found = memorisation(
        made.images, train.images, held_out.images, measures, labels=made.labels, held_out_labels=held_out.labels,
        seed=seed, pairs=PAIRS,
    )
    names = train.labels or ("",) * len(train.images)
    items = [
        PairItem(made.images[pair.row], made.labels[pair.row], train.images[pair.train_row],
                 f"train: {names[pair.train_row]}", pair.view, {pair.measure: pair.distance, "ratio": pair.ratio})
        for pair in found.pairs
    ]
    ids = {"ids": {str(pair.row): made.ids[pair.row] for pair in found.pairs}}
    _write(out, "memorisation.json", found.to_json() | ids | about, "nearest_train.png", items)
    return found


def judge_repetition(
    made: RunPictures, real: RealPictures | None, measures: Sequence[Measure], seed: int, out: Path | None,
    about: dict[str, Any],
) -> Repetition:
    """Look for duplicates within a run; writes `duplicates.json` and `nearest_twins.png`.

    Args:
        real: Real images at their size; None for no null.
        out: Folder to write to; None to write nothing.
        about: What else the JSON is to say.

    Raises:
        InputError: Too few images.
    """
    from terrasynth.eval.copies.repetition import repetition
    from terrasynth.eval.pages.sheets import PairItem

    found = repetition(
        made.images, measures, labels=made.labels, real=None if real is None else real.images,
        real_labels=None if real is None else real.labels, seed=seed, pairs=PAIRS,
    )
    if out is not None:
        items = [
            PairItem(made.images[pair.row], made.labels[pair.row], made.images[pair.other], made.labels[pair.other],
                     pair.view, {pair.measure: pair.distance})
            for pair in found.pairs
        ]
        rows = {row for pair in found.pairs for row in (pair.row, pair.other)}
        ids = {"ids": {str(row): made.ids[row] for row in sorted(rows)}}
        _write(out, "duplicates.json", found.to_json() | ids | about, "nearest_twins.png", items)
    return found


class RealNeighbors:
    """Finds the real image that another is most like, after the one was laid over the other in its eight views.

    Args:
        real: Images to look among, at one size.
    """

    def __init__(self, real: RealPictures) -> None:
        from terrasynth.eval.copies.measures import RegisteredMeasure

        self.real, self._measure = real, RegisteredMeasure()
        self._described = next(iter(self._measure.views(real.images, 1)))

    def nearest(self, image: NDArray[np.uint8]) -> tuple[int, float, int]:
        """The nearest to one image uint8 (H, W, 3).

        Returns:
            Its row, the correlation of the details (1 for a copy), and the view of the image in which it is nearest
            (see `terrasynth.eval.copies.perceptual_hash.turned`).
        """
        from terrasynth.eval.copies.measures import nearest_picture

        found = nearest_picture(self._measure, image[None], self._described)
        return int(found.index[0]), 1 - float(found.distance[0]), int(found.view[0])


def _write(out: Path, name: str, content: dict[str, Any], sheet: str, pairs: Sequence[PairItem]) -> None:
    from terrasynth.eval.pages.sheets import pair_sheet

    write_file(out / name, json.dumps(content, indent=2) + "\n")
    pair_sheet(pairs).save(out / sheet, optimize=True)
