"""The durable store of jobs: each is made once, and every method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from terrasynth.synthesis.service.changes import event_of, get_job, job_of
from terrasynth.synthesis.service.database import Database, events, jobs
from terrasynth.synthesis.service.leases import LeasedJobs
from terrasynth.synthesis.service.records import ConflictError, Job, StoredEvent, new_id
from terrasynth.synthesis.service.specs import LONG, JobSpec
from terrasynth.synthesis.service.states import AGAIN, ENDED, State

MOST_DEATHS = 3


class JobStore(LeasedJobs):
    """Jobs in a database; what workers ask of it is in `LeasedJobs`.

    Args:
        address: "sqlite:///PATH" or "postgresql+psycopg://..."; a path is a file of SQLite.
        most_deaths: Deaths in a row after which a job is set aside.

    Raises:
        InputError: The database cannot be opened.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth.synthesis.service.specs import parse_spec
        >>> from terrasynth.synthesis.service.store import JobStore
        >>> spec = parse_spec({"kind": "run", "data_set": "coast"})
        >>> with TemporaryDirectory() as folder:
        ...     store = JobStore(Path(folder, "jobs.sqlite"))
        ...     (job, new), (same, again) = store.create(spec, key="a"), store.create(spec, key="a")
        ...     new, again, job.id == same.id, [event.type for event in store.events(job.id)]
        (True, False, True, ['queued'])
    """

    def __init__(self, address: str | Path, most_deaths: int = MOST_DEATHS) -> None:
        self.address = f"sqlite:///{address.absolute()}" if isinstance(address, Path) else address
        super().__init__(Database(self.address), most_deaths)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def create(self, spec: JobSpec, *, priority: int = 0, key: str | None = None) -> tuple[Job, bool]:
        """Queue a job; it is durable when this returns.

        Args:
            priority: Jobs of a higher one are begun first.
            key: The client's name for this request: the same key gives the same job again.

        Returns:
            The job, and whether it was made by this call.

        Raises:
            ConflictError: The key was used for another spec.
        """
        tree = spec.model_dump(mode="json")
        data_set = tree.get("data_set")
        try:
            with self._writing() as change:
                known = _by_key(change.connection, key, spec)
                if known is not None:
                    return known, False
                job = new_id()
                change.connection.execute(jobs.insert().values(
                    id=job, key=key, kind=spec.kind, spec=tree, data_set=data_set, priority=priority, events=1,
                    created=change.now, state=State.QUEUED, holds=data_set if spec.kind in LONG else None,
                ))
                change.write_event(job, 1, "queued", {})
                return change.job(job), True
        except sa.exc.IntegrityError:
            with self._database.reading() as connection:  # another has used the key between our look and our write
                known = _by_key(connection, key, spec)
            if known is None:
                raise
            return known, False

    def get(self, job: str) -> Job:
        """A job by its id.

        Raises:
            UnknownJobError: There is none.
        """
        with self._database.reading() as connection:
            return get_job(connection, job)

    def list(
        self, *, state: State | None = None, kind: str | None = None, data_set: str | None = None,
        before: str | None = None, limit: int = 50,
    ) -> Sequence[Job]:
        """Jobs, the newest first.

        Args:
            state: Only those in this state.
            kind: Only those of this kind.
            data_set: Only those about this data set.
            before: Only those older than the job of this id.
        """
        query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        for column, value in ((jobs.c.state, state), (jobs.c.kind, kind), (jobs.c.data_set, data_set)):
            if value is not None:
                query = query.where(column == value)
        if before is not None:
            query = query.where(jobs.c.id < before)
        with self._database.reading() as connection:
            return [job_of(row) for row in connection.execute(query)]

    def counts(self) -> dict[State, int]:
        """Jobs by state; every state is named."""
        query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self._database.reading() as connection:
            found = {State(state): count for state, count in connection.execute(query)}
        return {state: found.get(state, 0) for state in State}

    def events(self, job: str, after: int = 0, limit: int = 500) -> Sequence[StoredEvent]:
        """What happened to a job, in order.

        Args:
            after: Number of the last event that is known already.

        Raises:
            UnknownJobError: There is none.
        """
        query = sa.select(events).where(events.c.job == job, events.c.number > after).order_by(events.c.number)
        with self._database.reading() as connection:
            found = [event_of(row) for row in connection.execute(query.limit(limit))]
            if not found:
                get_job(connection, job)
            return found

    def cancel(self, job: str) -> Job:
        """Ask for the end of a job: one that waits ends at once, one that is at work ends after its block.

        Raises:
            UnknownJobError: There is none.
            ConflictError: It has ended already, otherwise than by being canceled.
        """
        with self._writing() as change:
            found = change.job(job)
            if found.state is State.QUEUED:
                change.end(job, State.CANCELED)
            elif found.state is State.RUNNING:
                change.change(job, None, {}, cancel=True)
            elif found.state is not State.CANCELED:
                raise ConflictError(f"job {job} has ended ({found.state}), so there is nothing left to cancel; "
                                    "delete it if it is in the way")
            return change.job(job)

    def retry(self, job: str) -> Job:
        """Put a job that ended without success into the queue again; it goes on from what is there.

        Raises:
            UnknownJobError: There is none.
            ConflictError: It waits, is at work, or has succeeded.
        """
        with self._writing() as change:
            found = change.job(job)
            if found.state not in AGAIN:
                raise ConflictError(f"job {job} is {found.state}, and only one that ended without success can be "
                                    "retried; create another job")
            change.change(job, "queued", {}, state=State.QUEUED, deaths=0, cancel=False, error=None, result=None,
                          ended=None, not_before=0.0, waits=None)
            return change.job(job)

    def delete(self, job: str) -> None:
        """Forget a job that has ended, with its events; its data set stays.

        Raises:
            UnknownJobError: There is none.
            ConflictError: It has not ended.
        """
        with self._writing() as change:
            found = change.job(job)
            if found.state not in ENDED:
                raise ConflictError(f"job {job} is {found.state}; cancel it first")
            change.connection.execute(events.delete().where(events.c.job == job))
            change.connection.execute(jobs.delete().where(jobs.c.id == job))


def _by_key(connection: sa.Connection, key: str | None, spec: JobSpec) -> Job | None:
    """The job that a key has made.

    Raises:
        ConflictError: It was made of another spec.
    """
    if key is None:
        return None
    row = connection.execute(sa.select(jobs).where(jobs.c.key == key)).one_or_none()
    if row is None:
        return None
    if row.spec != spec.model_dump(mode="json"):
        raise ConflictError(f"the idempotency key {key!r} was used for another job ({row.id}); use a new key for a "
                            "new job")
    return job_of(row)
