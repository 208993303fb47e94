"""Databases for the store of jobs (SQLite, and PostgreSQL where it is installed), and servers with data sets."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from terrasynth.synthesis.service.app import create_app
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.service.store import JobStore
from tests.postgres_server import new_database, postgres_server, programs
from tests.synthesis.service.web import tiny_recipe
from tests.synthesis.service.written import write_run

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


@pytest.fixture
def runs(tmp_path):
    """A folder of data sets."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def job_store(runs):
    """The store of a server, in a file."""
    made = JobStore(runs / ".service" / "jobs.sqlite")
    yield made
    made.close()


@pytest.fixture
def settings(runs):
    """A server on the loopback address, which waits for nothing."""
    return ServiceSettings(runs, port=0, wait_seconds=0.2)


@pytest.fixture
def client(settings, job_store):
    """A client of a server in this process."""
    with TestClient(create_app(settings, job_store), base_url="http://127.0.0.1:8765") as made:
        yield made


@pytest.fixture(scope="session")
def finished_run(models, tmp_path_factory):
    """A run of three classes with accepted and rejected attempts, to be copied."""
    from terrasynth.synthesis import Recipe, run  # which loads torch, and few of these tests need it

    root = tmp_path_factory.mktemp("finished") / "tiny"
    run(Recipe.parse(tiny_recipe(models)), root)
    return root


@pytest.fixture
def data_set(finished_run, runs):
    """A finished data set called "tiny" in the folder of data sets."""
    return Path(shutil.copytree(finished_run, runs / "tiny"))


@pytest.fixture
def written(runs):
    """A data set called "tiny" that no model drew."""
    write_run(runs / "tiny", 48, classes=3)
    return runs / "tiny"
