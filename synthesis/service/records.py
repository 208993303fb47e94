"""What the store gives out: jobs, their events, and what it refuses."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.service.states import State

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no letter looks like a digit
_TIME, _CHANCE = 12, 14  # digits


@dataclass(frozen=True)
class Job:
    """A job as it is stored.

    Attributes:
        id: 26 characters that sort by the time of creation.
        kind: Kind of its spec.
        spec: What it is to do, as plain data.
        state: How far it is.
        priority: Jobs of a higher one are begun first.
        created: When it was made (UTC).
        started: When it was begun first; None before.
        ended: When it ended; None before.
        attempts: Times that it was begun.
        deaths: Times in a row that it took its process with it, without a new block between.
        cancel: Whether its end was asked for.
        error: Why it failed, on one line.
        result: What it gave.
        data_set: Name of the data set that it is about.
        progress: How far the work is, in numbers.
        worker: Who does it at present.
    """

    id: str
    kind: str
    spec: dict[str, Any]
    state: State
    priority: int
    created: datetime
    started: datetime | None
    ended: datetime | None
    attempts: int
    deaths: int
    cancel: bool
    error: str | None
    result: dict[str, Any] | None
    data_set: str | None
    progress: dict[str, Any] | None
    worker: str | None


@dataclass(frozen=True)
class StoredEvent:
    """What happened to a job.

    Attributes:
        number: Counts the events of a job from 1, without a gap.
        job: Id of the job.
        type: What kind of event.
        data: What it says.
        time: When (UTC).
    """

    number: int
    job: str
    type: str
    data: dict[str, Any]
    time: datetime


@dataclass(frozen=True)
class Lease:
    """The right to work on a job, until it is lost; whoever has lost it can write nothing any more.

    Attributes:
        job: The job as it was when it was leased.
        token: Proves the right; no two leases share one.
    """

    job: Job
    token: str


class UnknownJobError(InputError):
    """There is no job of that id."""


class ConflictError(InputError):
    """What is asked for does not go together with what is stored."""


class LeaseLostError(RunError):
    """The lease ran out, or the job was taken back: another may be working on it."""


def new_id() -> str:
    """An id that sorts by the microsecond of its making, and is met nowhere else."""
    return _written(time.time_ns() // 1000, _TIME) + _written(secrets.randbits(5 * _CHANCE), _CHANCE)


def _written(number: int, digits: int) -> str:
    return "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(digits)))
