"""Splits for data that have none: seeded, the same share of each class, near copies of an image on one side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.nearest import nearest_by_bits
from terrasynth.eval.copies.perceptual_hash import VIEWS
from terrasynth.hashing import text_hash
from terrasynth.training.data import Pair

NEAR_BITS = 6
"""Images whose perceptual hashes differ in at most so many of 64 bits, in any of eight views, are near copies."""

NEIGHBORS = 8  # of each image and view that are looked at
SHARES: Mapping[str, float] = {"val": 0.15, "test": 0.15}


def near_groups(hashes: NDArray[np.uint8], digests: Sequence[str]) -> NDArray[np.intp]:
    """A group (N,) for each image: near copies, and near copies of these, are of one group.

    Args:
        hashes: `uint8` (N, 8, 8), perceptual hashes of eight views (`perceptual_hashes`).
        digests: Of the pixels of each; the same pixels are always of one group.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval.copies.perceptual_hash import perceptual_hashes
        >>> from terrasynth.training.own_classes.splits import near_groups
        >>> images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        >>> near_groups(perceptual_hashes(images[[0, 1, 2, 1]]), "abcb").tolist()
        [0, 1, 2, 1]
    """
    count = len(hashes)
    above = np.arange(count)

    def top(row: int) -> int:
        while above[row] != row:
            above[row] = above[above[row]]
            row = int(above[row])
        return row

    def join(one: int, other: int) -> None:
        first, second = sorted((top(one), top(other)))
        above[second] = first

    seen: dict[str, int] = {}
    for row, digest in enumerate(digests):
        join(row, seen.setdefault(digest, row))
    lying = np.ascontiguousarray(hashes[:, 0])
    for view in range(VIEWS if count > 1 else 0):
        turned = np.ascontiguousarray(hashes[:, view])
        found = nearest_by_bits(turned, lying, min(NEIGHBORS, count), approximate=False)
        for row, place in zip(*np.nonzero(found.distance <= NEAR_BITS), strict=True):
            join(int(row), int(found.index[row, place]))
    return np.array([top(row) for row in range(count)], np.intp)


def made_splits(pairs: Sequence[Pair], groups: NDArray[np.intp], seed: int) -> dict[str, str]:
    """The split of each image by its name.

    A split that the data have stays; of those that are missing, `val` and, where the data have neither, `test` are
    taken from `train`, at least one group of each class if it has enough.

    Args:
        groups: (N,), which images stay together (`near_groups`).
        seed: Decides which, whatever the order of the images.
    """
    present = {pair.split for pair in pairs}
    wanted = ["val"] if "test" in present else ["val", "test"]
    found = {pair.name: pair.split for pair in pairs}
    fixed = {int(group) for group, pair in zip(groups, pairs, strict=True) if pair.split != "train"}
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        members[group].append(row)
    by_class: dict[str, list[list[int]]] = defaultdict(list)
    for group, rows in members.items():
        if group not in fixed:
            by_class[min(pairs[row].label for row in rows)].append(rows)
    for own in by_class.values():
        own.sort(key=lambda rows: text_hash(f"{seed} {min(pairs[row].name for row in rows)}"))
        total, left = sum(map(len, own)), own
        for split in wanted:
            taken, left = _taken(left, round(SHARES[split] * total))
            found |= {pairs[row].name: split for rows in taken for row in rows}
    return found


def _taken(groups: list[list[int]], wanted: int) -> tuple[list[list[int]], list[list[int]]]:
    """Groups of about so many images, at least one where another is left, and the rest."""
    taken: list[list[int]] = []
    for rows in groups:
        if sum(map(len, taken)) + len(rows) <= wanted and len(taken) + 1 < len(groups):
            taken.append(rows)
    if not taken and len(groups) > 1:
        taken = [min(groups, key=len)]
    return taken, [rows for rows in groups if rows not in taken]
