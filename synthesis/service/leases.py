"""What workers ask of the store: a job is leased to one at a time, and whoever has lost a lease writes nothing.

What a worker writes names its lease in the same transaction, so that one that was taken for dead changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from terrasynth.synthesis.service.changes import FREE, Transaction, get_job, holder, lost
from terrasynth.synthesis.service.database import Database, jobs
from terrasynth.synthesis.service.records import Job, Lease, LeaseLostError, StoredEvent
from terrasynth.synthesis.service.states import State

Told = tuple[str, dict[str, Any]]  # type and data of an event

_OTHER = jobs.alias()
# Built once: a supervisor looks ten times a second, and building them costs thrice what asking them does.
_DUE = sa.select(jobs.c.id).where(
    jobs.c.state == State.QUEUED, jobs.c.kind.in_(sa.bindparam("kinds", expanding=True)),
    ~sa.exists().where(_OTHER.c.state == State.RUNNING, _OTHER.c.holds == jobs.c.holds),
    jobs.c.not_before <= sa.bindparam("now", type_=sa.Double),
).limit(1)
_NEXT = _DUE.order_by(jobs.c.priority.desc(), jobs.c.id).with_for_update(skip_locked=True)


class LeasedJobs:
    """The half of `JobStore` that workers use.

    Args:
        most_deaths: Deaths in a row after which a job is set aside.
    """

    def __init__(self, database: Database, most_deaths: int) -> None:
        self._database = database
        self._most_deaths = most_deaths

    def lease(self, worker: str, seconds: float, kinds: Iterable[str]) -> Lease | None:
        """Take the next job that may be begun; None where there is none.

        Args:
            worker: Name of who asks, for people.
            seconds: How long the lease holds unless it is renewed.
            kinds: Kinds of job that are wanted.
        """
        wanted = {"kinds": list(kinds)}
        with self._database.reading() as connection:  # most looks find nothing, and hold up nobody
            now = self._database.now(connection)
            if connection.execute(_DUE, {**wanted, "now": now}).first() is None:
                return None
        while True:
            try:
                with self._database.writing() as connection:
                    now = self._database.now(connection)
                    job = connection.execute(_NEXT, {**wanted, "now": now}).scalar_one_or_none()
                    if job is None:
                        return None
                    token = secrets.token_hex(16)
                    connection.execute(jobs.update().where(jobs.c.id == job).values(
                        state=State.RUNNING, worker=worker, lease=token, lease_until=now + seconds,
                    ))
                    return Lease(get_job(connection, job), token)
            except sa.exc.IntegrityError:
                continue  # another took a job on the same data set in this very moment: the next look sees it

    def begin(self, lease: Lease) -> Job:
        """Say that the work begins.

        Raises:
            LeaseLostError: The lease is lost.
        """
        with self._writing() as change:
            job = change.leased(lease)
            first = change.now if job.started is None else job.started.timestamp()
            change.change(job.id, "started", {"attempt": job.attempts + 1, "worker": job.worker},
                          attempts=job.attempts + 1, started=first, waits=None)
            return change.job(job.id)

    def holds(self, lease: Lease) -> bool:
        """Whether a lease is still held: its job has neither ended nor been given or taken back."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(jobs.c.id).where(*holder(lease))).first() is not None

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Hold a lease for longer; False where it is lost, and its work has to stop."""
        with self._database.writing() as connection:
            until = self._database.now(connection) + seconds
            return connection.execute(jobs.update().where(*holder(lease)).values(lease_until=until)).rowcount == 1

    def append(
        self, lease: Lease, type: str, data: dict[str, Any], *, progress: dict[str, Any] | None = None,
        made: bool = False,
    ) -> StoredEvent:
        """Tell an event of a job.

        Args:
            progress: How far the job is now; None to leave that as it is.
            made: Whether something new is stored, so that the deaths before it count no more.

        Raises:
            LeaseLostError: The lease is lost; nothing was written.
        """
        return self.append_all(lease, [(type, data)], progress=progress, made=made)[-1]

    def append_all(
        self, lease: Lease, told: Sequence[Told], *, progress: dict[str, Any] | None = None, made: bool = False
    ) -> list[StoredEvent]:
        """Tell several events at once, all or none; see `append`."""
        values: dict[str, Any] = {"events": jobs.c.events + len(told)}
        values |= {"progress": progress} if progress is not None else {}
        values |= {"deaths": 0} if made else {}
        with self._writing() as change:
            # The row stays locked until the end, so that numbers are given, and become visible, in one order.
            update = jobs.update().where(*holder(lease)).values(**values).returning(jobs.c.events)
            last = change.connection.execute(update).scalar_one_or_none()
            if last is None:
                raise lost(lease)
            first = last - len(told) + 1
            return [change.write_event(lease.job.id, first + place, *each) for place, each in enumerate(told)]

    def finish(
        self, lease: Lease, state: State, result: dict[str, Any] | None = None, error: str | None = None
    ) -> Job:
        """End a job; "ended" tells of it.

        Raises:
            LeaseLostError: The lease is lost; nothing was written.
        """
        with self._writing() as change:
            job = change.leased(lease)
            change.end(job.id, state, result, error)
            return change.job(job.id)

    def release(self, lease: Lease, reason: str, result: dict[str, Any] | None = None) -> Job:
        """Give a job back that was stopped between blocks: it goes on later, or is canceled where that was asked for.

        Args:
            result: What is there, for a job that is canceled.

        Raises:
            LeaseLostError: The lease is lost.
        """
        with self._writing() as change:
            job = change.leased(lease)
            if job.cancel:
                change.end(job.id, State.CANCELED, result)
            else:
                change.change(job.id, "stopped", {"reason": reason}, state=State.QUEUED, **FREE)
            return change.job(job.id)

    def postpone(self, lease: Lease, seconds: float, reason: str) -> Job:
        """Give a job back that cannot be begun yet; "waiting" tells of each reason once.

        Args:
            seconds: How long nobody looks at it again.

        Raises:
            LeaseLostError: The lease is lost.
        """
        with self._writing() as change:
            job = change.leased(lease)
            if job.cancel:
                change.end(job.id, State.CANCELED)
            else:
                known = change.connection.execute(sa.select(jobs.c.waits).where(jobs.c.id == job.id)).scalar_one()
                change.change(job.id, None if known == reason else "waiting", {"reason": reason}, state=State.QUEUED,
                              not_before=change.now + seconds, waits=reason, **FREE)
            return change.job(job.id)

    def died(self, lease: Lease, reason: str, log: str) -> Job:
        """Count a death of a job's process: it goes on later, or is set aside after the third in a row.

        Args:
            lease: What the process had.
            log: The tail of what it printed.

        Raises:
            LeaseLostError: The lease is lost, so that the death is counted already.
        """
        with self._writing() as change:
            job = change.leased(lease)
            change.died(job, self._most_deaths, reason, log)
            return change.job(job.id)

    def reap(self, log: Callable[[str], str] = lambda job: "") -> list[Job]:
        """Take back all leases that ran out; each counts as a death.

        Args:
            log: The tail of what a job's process printed, where this machine has it.
        """
        with self._database.reading() as connection:
            query = sa.select(jobs.c.id, jobs.c.lease).where(jobs.c.state == State.RUNNING,
                                                             jobs.c.lease_until < self._database.now(connection))
            over = [Lease(get_job(connection, job), token) for job, token in connection.execute(query).all()]
        return [job for lease in over if (job := self._reap(lease, log(lease.job.id))) is not None]

    def _reap(self, lease: Lease, log: str) -> Job | None:
        with self._writing() as change:
            try:
                job = change.leased(lease)
            except LeaseLostError:
                return None
            late = sa.select(jobs.c.lease_until < change.now).where(jobs.c.id == job.id)
            if not change.connection.execute(late).scalar_one():  # it was renewed since it was looked for
                return None
            change.died(job, self._most_deaths, f"worker {job.worker} fell silent, and its lease ran out", log)
            return change.job(job.id)

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._database.writing() as connection:
            yield Transaction(self._database, connection)
