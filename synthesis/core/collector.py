"""How often Python looks for circles of objects that nothing else refers to."""

from __future__ import annotations

import gc

OBJECTS = 10_000


def look_seldom() -> None:
    """Look for circles after `OBJECTS` new objects, where Python would after some hundreds; a seldomer look stays.

    The libraries make a million objects that stay, and at each look many of them are walked over: of the seconds of
    processor that importing them takes, every sixth was that.
    """
    first, *others = gc.get_threshold()
    if 0 < first < OBJECTS:
        gc.set_threshold(OBJECTS, *others)
