"""How a job's row and its events are read and changed inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from terrasynth.synthesis.service.database import Database, events, jobs
from terrasynth.synthesis.service.records import Job, Lease, LeaseLostError, StoredEvent, UnknownJobError
from terrasynth.synthesis.service.states import State

FREE: Mapping[str, Any] = {"lease": None, "lease_until": None, "worker": None}
_FIELDS = tuple(Job.__dataclass_fields__)
_TIMES = ("created", "started", "ended")


class Transaction:
    """A transaction that writes, and what is done in it.

    Args:
        connection: A connection that has begun.
    """

    def __init__(self, database: Database, connection: sa.Connection) -> None:
        self.connection = connection
        self.now = database.now(connection)

    def job(self, job: str) -> Job:
        """A job, which nobody else changes until the transaction ends.

        Raises:
            UnknownJobError: There is none.
        """
        return get_job(self.connection, job, lock=True)

    def leased(self, lease: Lease) -> Job:
        """The job of a lease, as above.

        Raises:
            LeaseLostError: The lease is lost.
        """
        row = self.connection.execute(sa.select(jobs).where(*holder(lease)).with_for_update()).one_or_none()
        if row is None:
            raise lost(lease)
        return job_of(row)

    def change(self, job: str, type: str | None, data: dict[str, Any], **values: Any) -> None:  # noqa: ANN401
        """Change a job and tell of it.

        Args:
            type: The event; None for none.
            **values: New values of columns.
        """
        if type is not None:
            values["events"] = jobs.c.events + 1
        update = jobs.update().where(jobs.c.id == job).values(**values).returning(jobs.c.events)
        number = self.connection.execute(update).scalar_one()
        if type is not None:
            self.write_event(job, number, type, data)

    def write_event(self, job: str, number: int, type: str, data: dict[str, Any]) -> StoredEvent:
        """Write an event whose number was taken from the job's row in this transaction."""
        self.connection.execute(events.insert().values(job=job, number=number, type=type, data=data, time=self.now))
        return StoredEvent(number, job, type, data, datetime.fromtimestamp(self.now, UTC))

    def end(
        self, job: str, state: State, result: dict[str, Any] | None = None, error: str | None = None, **more: Any  # noqa: ANN401
    ) -> None:
        """End a job; `more` are further things that the event says."""
        error = None if error is None else clean(error)
        said = {"state": state.value, "result": result, "error": error, **more}
        self.change(job, "ended", said, state=state, result=result, error=error, ended=self.now, **FREE)

    def died(self, job: Job, most: int, reason: str, log: str) -> None:
        """Count a death; see `JobStore.died`."""
        if job.cancel:
            return self.end(job.id, State.CANCELED)
        deaths, reason, log = job.deaths + 1, clean(reason), clean(log)
        if deaths < most:
            said = {"deaths": deaths, "reason": reason, "log": log}
            return self.change(job.id, "died", said, state=State.QUEUED, deaths=deaths, **FREE)
        self.change(job.id, None, {}, deaths=deaths)
        error = (f"its process died {deaths} times in a row without a new block ({reason}); read its log, correct "
                 "what it says, and retry")
        return self.end(job.id, State.SET_ASIDE, None, error, log=log)


def get_job(connection: sa.Connection, job: str, lock: bool = False) -> Job:
    """A job by its id.

    Args:
        lock: Whether others have to wait until the transaction ends.

    Raises:
        UnknownJobError: There is none.
    """
    query = sa.select(jobs).where(jobs.c.id == job)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise UnknownJobError(f"there is no job {job!r}; `terrasynth jobs list` shows those there are")
    return job_of(row)


def job_of(row: sa.Row[Any]) -> Job:
    """A row of the table as a record."""
    values = {name: getattr(row, name) for name in _FIELDS}
    times = {name: None if values[name] is None else datetime.fromtimestamp(values[name], UTC) for name in _TIMES}
    return Job(**values | times | {"state": State(row.state)})


def event_of(row: sa.Row[Any]) -> StoredEvent:
    """A row of the table as a record."""
    return StoredEvent(row.number, row.job, row.type, row.data, datetime.fromtimestamp(row.time, UTC))


def holder(lease: Lease) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """The condition that a lease is not lost."""
    return jobs.c.id == lease.job.id, jobs.c.lease == lease.token


def lost(lease: Lease) -> LeaseLostError:
    """What is raised where it is."""
    return LeaseLostError(f"job {lease.job.id} was taken back from {lease.job.worker!r}; another worker goes on with "
                          "it, and nothing was written here")


def clean(text: str) -> str:
    """A text without what no database takes: NUL, and halves of characters."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
