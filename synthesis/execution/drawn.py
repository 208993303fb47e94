"""One block as it was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from terrasynth.prompts import Prompt


@dataclass(frozen=True)
class DrawnBlock:
    """The attempts of a block, drawn and not stored yet.

    Attributes:
        label: Their class.
        index: Place of the block in its class.
        named: Their ids and seeds.
        pictures: uint8 (N, H, W, 3).
        withheld: Rows that the model's safety checker made black, one image of a pair or both.
        drawn: By what and how, `Runtime.drawn`.
        after: Of pairs, the images after, uint8 (N, H, W, 3); None of single images.
    """

    label: str
    index: int
    prompts: list[Prompt]
    named: list[tuple[str, int]]
    pictures: NDArray[np.uint8]
    drawn: Mapping[str, Any]
    withheld: tuple[int, ...] = ()
    after: NDArray[np.uint8] | None = None
