"""The order in which images are shown: class by class as they were drawn, or a random one that a seed decides.

The random order sorts ids by a hash of seed and id. So the first images of it are a random sample of any set, nothing
has to be kept to go on with it, and of a set that has grown the sample is one again: the new images that belong into it
come up first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence


def in_random_order(ids: Sequence[str], seed: int) -> list[int]:
    """The places of ids in the random order of a seed."""
    keys = [hashlib.blake2b(f"{seed}\0{one}".encode(), digest_size=8).digest() for one in ids]
    return sorted(range(len(ids)), key=lambda place: (keys[place], ids[place]))


def random_sample(ids: Sequence[str], seed: int, looked_at: Collection[str]) -> list[int]:
    """The places of the images of a random sample that were looked at: the first of the order, up to the first gap.

    Images that were looked at for another reason, and lie beyond the gap, are none of it.

    Args:
        ids: Of all images.
        seed: Of the order.
        looked_at: Ids of those that somebody gave a verdict on.
    """
    found = []
    for place in in_random_order(ids, seed):
        if ids[place] not in looked_at:
            break
        found.append(place)
    return found


def sample_gap(ids: Sequence[str], seed: int, looked_at: Collection[str]) -> tuple[int, int]:
    """What a random sample waits for: images that nobody looked at, between those that somebody did.

    Args:
        ids: Of all images.
        seed: Of the order.
        looked_at: Ids of those that somebody gave a verdict on.

    Returns:
        How many images have to be looked at until all verdicts count, and how many verdicts wait for these; twice 0
        where the sample has no gap.
    """
    seen = [ids[place] in looked_at for place in in_random_order(ids, seed)]
    count = sum(seen)
    waiting = count - len(random_sample(ids, seed, looked_at))
    return (len(seen) - seen[::-1].index(True) - count, waiting) if waiting else (0, 0)
