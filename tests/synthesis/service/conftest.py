"""Databases for the store of jobs: a file of SQLite, and PostgreSQL where it is installed."""

from __future__ import annotations

import itertools

import pytest

from terrasynth.synthesis.service.store import JobStore
from tests.postgres_server import new_database, postgres_server, programs

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres():
    """The address of a server."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server(found) as address:
        yield address


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    """The address of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    return new_database(request.getfixturevalue("postgres"), f"jobs_{next(_NUMBERS)}")


@pytest.fixture
def store(database):
    made = JobStore(database)
    yield made
    made.close()
