"""How often Python looks for circles of objects that nothing else refers to."""

from __future__ import annotations

import atexit
import gc
from functools import cache

OBJECTS = 10_000


def look_seldom() -> None:
    """Look for circles after `OBJECTS` new objects, where Python would after some hundreds, and not at the end.

    The libraries make a million objects that stay, and at each look many of them are walked over, at the end of the
    process several times: of the processor's seconds of a command that loads a model every third was that. A seldomer
    look, or none, that somebody has chosen stays.
    """
    first, *others = gc.get_threshold()
    if 0 < first < OBJECTS:
        gc.set_threshold(OBJECTS, *others)
    _do_not_look_at_the_end()


@cache
def _do_not_look_at_the_end() -> None:
    atexit.register(gc.freeze)
