"""Take from several streams in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def round_robin(streams: Sequence[Iterator[Item]]) -> Iterator[Item]:
    """Yield an item of each stream, then the next of each; a stream that has ended is passed over.

    Example:
        >>> from terrasynth.synthesis.core.round_robin import round_robin
        >>> list(round_robin([iter("abc"), iter("x"), iter("12")]))
        ['a', 'x', '1', 'b', '2', 'c']
    """
    while streams:
        alive = []
        for stream in streams:
            for item in stream:
                alive.append(stream)
                yield item
                break
        streams = alive
