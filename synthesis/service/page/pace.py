"""How fast a run goes on, and how long it may still take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pace:
    """How fast a run goes on.

    Attributes:
        rate: Images drawn a second.
        left: Seconds to the target at this pace; None where none was accepted so far.
    """

    rate: float
    left: float | None


def pace_of(progress: Mapping[str, Any] | None, missing: int) -> Pace | None:
    """The pace of a run since its job was begun; None before its first block.

    Args:
        progress: Of the job: "drawn" images, the "seconds" that they took, and how many of all that were "attempted"
            are "accepted".
        missing: Images that the data set still lacks.

    Example:
        >>> from terrasynth.synthesis.service.page.pace import pace_of
        >>> pace_of({"drawn": 40, "seconds": 20.0, "accepted": 30, "attempted": 40}, 15)
        Pace(rate=2.0, left=10.0)
    """
    if not progress or not progress.get("drawn") or not progress.get("seconds"):
        return None
    rate = float(progress["drawn"]) / float(progress["seconds"])
    accepted, attempted = progress.get("accepted", 0), progress.get("attempted", 0)
    return Pace(rate, missing * attempted / accepted / rate if accepted else None)
