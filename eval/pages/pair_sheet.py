"""Pairs of pictures side by side: what was generated, and what it is nearest to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.eval.copies.perceptual_hash import turned
from terrasynth.eval.pages.sheets import SheetItem, contact_sheet

PAIRS_A_ROW = 3


@dataclass(frozen=True)
class PairItem:
    """One pair of a sheet.

    Attributes:
        image: `uint8` (H, W, 3).
        label: Its class.
        other: The picture that it is nearest to, `uint8` (H, W, 3).
        other_label: What to call that one.
        view: How `image` is to be turned to lie on `other`; the sheet shows it so.
        scores: What to write under the first.
    """

    image: NDArray[np.uint8]
    label: str
    other: NDArray[np.uint8]
    other_label: str
    view: int
    scores: dict[str, float]


def pair_sheet(pairs: Iterable[PairItem]) -> Image.Image:
    """Draw pairs, three a row, each picture turned as its partner lies.

    Raises:
        ValueError: There are none.
    """
    items = []
    for pair in pairs:
        items.append(SheetItem(turned(pair.image[None], pair.view)[0], pair.label, "", pair.scores))
        items.append(SheetItem(pair.other, pair.other_label, "", {}))
    return contact_sheet(items, columns=2 * PAIRS_A_ROW)
