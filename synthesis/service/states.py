"""The states of a job."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """How far a job is.

    Example:
        >>> from terrasynth.synthesis.service.states import ENDED, State
        >>> State("missed_target") in ENDED, State.QUEUED in ENDED
        (True, False)
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    WAITS_FOR_REVIEW = "waits_for_review"
    MISSED_TARGET = "missed_target"
    FAILED = "failed"
    CANCELED = "canceled"
    SET_ASIDE = "set_aside"


ENDED = frozenset(State) - {State.QUEUED, State.RUNNING}
AGAIN = ENDED - {State.SUCCEEDED}  # what a retry may put back into the queue
