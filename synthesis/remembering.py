"""What the filters of a class remember of accepted pictures, where decisions were taken from a checkpoint.

Taking over a decision reads nothing. What was accepted is read when a later picture is to be compared with it, block by
block, and only in a class that goes on. A hash of all that there is to remember says whether a block was decided on
under just this memory: where something earlier changed, it comes out otherwise, and the block is judged anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthesis.filter_base import ClassJudge, Measurements

if TYPE_CHECKING:
    from synthesis.decisions import NamedJudge

HASH_BYTES = 16
NOTHING = hashlib.sha256().digest()[:HASH_BYTES]
Reader = Callable[[int, str], Measurements]


class ClassMemory:
    """The memory of the filters of one class, and its hash after every block.

    Attributes:
        hashes: Of the memory before the first block, then after each; `HASH_BYTES` each.
    """

    def __init__(self, judges: Sequence[NamedJudge]) -> None:
        self.hashes = [NOTHING]
        self._judges = [each for each in judges if type(each.judge).keep is not ClassJudge.keep]
        self._keys = tuple(dict.fromkeys(each.encoder for each in self._judges))
        self._unread: list[int] = []
        self._read: Reader = _nothing_taken_over

    def decided(self, accepted: NDArray[np.bool_], measured: Mapping[str, Measurements]) -> None:
        """The next block was judged, and the filters were told of what they accepted.

        Args:
            accepted: Of each attempt, (N,).
            measured: By encoder; not looked at where nothing was accepted.
        """
        found = self.hashes[-1]
        if self._keys and accepted.any():
            hashed = hashlib.sha256(found)
            for key in self._keys:
                kept = measured[key].where(accepted)
                hashed.update(kept.alignment.tobytes() + kept.embeddings.tobytes())
            found = hashed.digest()[:HASH_BYTES]
        self.hashes.append(found)

    def taken_over(self, after: bytes, read: Reader) -> None:
        """Decisions on the next block were taken over; the filters know nothing of it yet.

        Args:
            after: The hash after it.
            read: Gives measurements of a block of the class by its place and an encoder.
        """
        if after != self.hashes[-1]:
            self._unread.append(len(self.hashes) - 1)
            self._read = read
        self.hashes.append(after)

    def recall(self, accepted: Callable[[int], NDArray[np.bool_]]) -> None:
        """Tell the filters of what was accepted in blocks that were taken over.

        Args:
            accepted: Gives for the block at a place which attempts were, (N,).
        """
        unread, self._unread = self._unread, []
        for index in unread:
            kept = {key: self._read(index, key).where(accepted(index)) for key in self._keys}
            for each in self._judges:
                each.judge.recall(kept[each.encoder])


def _nothing_taken_over(index: int, key: str) -> Measurements:
    raise AssertionError("only blocks that were taken over are read")
