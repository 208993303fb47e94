"""The tables of the store, in SQLite or PostgreSQL, and how each of the two is spoken to.

A commit is durable when it returns: SQLite syncs its log at every one (`synchronous=FULL`), as PostgreSQL does.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from terrasynth.errors import how_to_install
from terrasynth.prompts.addresses import shown
from terrasynth.synthesis.core.errors import InputError, one_line

VERSION = 1
PATIENCE = 60  # seconds that a writer waits for the others
_SETTING_UP = 7_252_716_110  # advisory lock of PostgreSQL: one process at a time makes the tables
_READS = "terrasynth_reads"
_META = sa.MetaData()
_JSON = sa.JSON(none_as_null=True)

versions = sa.Table("terrasynth_versions", _META, sa.Column("version", sa.Integer, primary_key=True))
jobs = sa.Table(
    "terrasynth_jobs", _META,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("key", sa.Text, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("spec", _JSON, nullable=False),
    sa.Column("data_set", sa.Text),
    sa.Column("holds", sa.Text),  # the data set that nobody else may work on meanwhile
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Column("not_before", sa.Double, nullable=False, default=0.0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("deaths", sa.Integer, nullable=False, default=0),
    sa.Column("cancel", sa.Boolean, nullable=False, default=False),
    sa.Column("error", sa.Text),
    sa.Column("result", _JSON),
    sa.Column("progress", _JSON),
    sa.Column("worker", sa.Text),
    sa.Column("lease", sa.Text),
    sa.Column("lease_until", sa.Double),
    sa.Column("events", sa.Integer, nullable=False, default=0),  # number of the last one
    sa.Column("waits", sa.Text),  # why it was put back before it began
    sa.Index("terrasynth_jobs_order", "state", "priority", "id"),
    sa.Index("terrasynth_jobs_data_set", "data_set", "id"),
)
events = sa.Table(
    "terrasynth_events", _META,
    sa.Column("job", sa.String(26), sa.ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("data", _JSON, nullable=False),
    sa.Column("time", sa.Double, nullable=False),
)

# Whatever a lease overlooks, two jobs are never at work on one data set. Said in SQL, which both databases read:
# SQLAlchemy loads the dialect of PostgreSQL to check the condition of an index, in every process that does a job.
sa.event.listen(jobs, "after_create", sa.DDL(  # type: ignore[no-untyped-call]
    "CREATE UNIQUE INDEX terrasynth_jobs_held ON terrasynth_jobs (holds) WHERE state = 'running'"
))


class Database:
    """An open database with its tables.

    Args:
        address: "sqlite:///PATH" or "postgresql+psycopg://...".

    Raises:
        InputError: The address is none, its driver is not installed, the database cannot be reached, is damaged, or was
            made by another version.
    """

    def __init__(self, address: str) -> None:
        url = _checked(address)
        self.sqlite = url.get_backend_name() == "sqlite"
        given: dict[str, Any] = {"connect_args": {"timeout": PATIENCE}} if self.sqlite else {"pool_pre_ping": True}
        try:
            self._engine = sa.create_engine(url, json_serializer=partial(json.dumps, allow_nan=False), **given)
            if self.sqlite:
                sa.event.listen(self._engine, "connect", _connected)
                sa.event.listen(self._engine, "begin", _begin)
            with self._alone(url):
                self._set_up()
        except ModuleNotFoundError as error:
            raise InputError(f"database {shown(address)!r} needs {error.name}, which is not installed; "
                             f"{how_to_install('postgres')}") from error
        except (sa.exc.OperationalError, OSError) as error:
            raise InputError(f"database {shown(address)!r} cannot be opened: {one_line(error, 200)}; "
                             "check that it is there and may be written to") from error
        except sa.exc.DatabaseError as error:
            if not self.sqlite:
                raise
            raise InputError(f"database {shown(address)!r} is damaged: {one_line(error.orig or error, 200)}; put a "
                             "copy back, or move it away with what begins with its name: data sets stay, and only "
                             "their jobs are forgotten") from error

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that is durable when it ends well, and leaves nothing when it does not."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads, and holds up no writer."""
        with self._engine.connect().execution_options(**{_READS: True}) as connection:
            yield connection

    def now(self, connection: sa.Connection) -> float:
        """Seconds since 1970 by the one clock that all workers share: the database's."""
        if self.sqlite:
            return time.time()
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _set_up(self) -> None:
        with self.writing() as connection:
            if not self.sqlite:
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_SETTING_UP})"))
            _META.create_all(connection)
            found = connection.execute(sa.select(versions.c.version)).scalar_one_or_none()
            if found is None:
                connection.execute(versions.insert().values(version=VERSION))
            elif found != VERSION:
                raise InputError(f"the store of jobs has tables of version {found}, and this program knows {VERSION}; "
                                 "use the program that made it, or another --runs or --database")

    @contextmanager
    def _alone(self, url: URL) -> Iterator[None]:
        """SQLite changes to its log without waiting for others, so that one process at a time may do it."""
        if not self.sqlite or not url.database or url.database == ":memory:":
            with nullcontext():
                yield
            return
        path = Path(url.database)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_name(path.name + ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _checked(address: str) -> URL:
    try:
        url = make_url(address)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise InputError(f"database {shown(address)!r} is no address; write postgresql+psycopg://USER@HOST/NAME, or "
                         "sqlite:///PATH") from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise InputError(f"database {shown(address)!r} is of a kind that is not supported; use postgresql+psycopg://, "
                         "or leave --database out for SQLite")
    return url


def _connected(connection: Any, _: ConnectionPoolEntry) -> None:  # noqa: ANN401 - a connection of the driver
    connection.isolation_level = None  # transactions are begun by `_begin`, not by the driver at the first write
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: sa.Connection) -> None:
    # A writer asks for its turn at once: a reader that becomes a writer would be refused instead of waiting.
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
