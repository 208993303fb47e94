"""How fast a job goes on, and how long it may still take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrasynth.synthesis.service.records import Job, StoredEvent

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore

LAST = 64  # events that a pace is taken from


@dataclass(frozen=True)
class Pace:
    """How fast a job goes on.

    Attributes:
        rate: Images drawn a second.
        left: Seconds to the target at this pace; None where none was accepted lately.
    """

    rate: float
    left: float | None


def pace_of(events: Sequence[StoredEvent], missing: int) -> Pace | None:
    """The pace of a run by the last of its events; None before the second block.

    Args:
        events: Of one job, in order.
        missing: Images that the data set still lacks.
    """
    blocks = [each for each in events if each.type == "block" and each.data.get("drawn")]
    if len(blocks) < 2:
        return None
    seconds = (blocks[-1].time - blocks[0].time).total_seconds()
    if seconds <= 0:
        return None
    later = blocks[1:]
    verdicts = [verdict for each in later for verdict in each.data.get("verdicts", ())]
    accepted = sum(verdict is None for verdict in verdicts)
    drawn = sum(int(each.data["drawn"]) for each in later)
    return Pace(drawn / seconds, missing * seconds / accepted if accepted else None)


def last_events(store: JobStore, job: Job) -> list[StoredEvent]:
    """The last events of a job, in order; what comes before them is passed over without being kept."""
    found: list[StoredEvent] = []
    after = 0
    while page := store.events(job.id, after):
        found = [*found, *page][-LAST:]
        after = page[-1].number
    return found
