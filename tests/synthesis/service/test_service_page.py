"""The commands of docs/service.md do what the page says, against real servers and workers."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from terrasynth.synthesis.service import children
from terrasynth.synthesis.service.client import Client
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.store import JobStore
from tests.postgres_server import new_database
from tests.synthesis.service.helpers import supervised, wait_for, work_settings
from tests.synthesis.service.web import events_in, web_server

PAGE = Path(__file__).parents[3] / "docs" / "service.md"
TEXT = PAGE.read_text(encoding="utf-8")
SERVER, RUNS, DATABASE = "http://127.0.0.1:8765", "/shared/runs", "postgresql+psycopg://terrasynth@db/terrasynth"
COMMAND = f"{shlex.quote(sys.executable)} -m terrasynth"
pytestmark = pytest.mark.slow


def block(begin):
    (found,) = re.findall(rf"^```(?:bash no-ci|python)\n({re.escape(begin)}.*?)^```", TEXT, re.M | re.S)
    return found


@pytest.fixture
def server(runs, settings, job_store, started_at_once):
    """The address of a server with a worker."""
    with (started_at_once(children), supervised(work_settings(runs), job_store),
          web_server(replace(settings, wait_seconds=300), job_store) as address):
        yield address


@pytest.fixture
def shell(tmp_path):
    def run(text, **environment):
        script = f'terrasynth() {{ {COMMAND} "$@"; }}\n{text}'
        return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True,
                              env=os.environ | environment)

    return run


def test_a_program_makes_a_data_set(server, shell, tmp_path):
    done = shell(block(f"S={SERVER}\n").replace(SERVER, server))
    assert done.returncode == 0, done.stderr
    kinds = [kind for _, kind in events_in(done.stdout)]
    assert kinds[0] == "queued"
    assert kinds[-1] == "ended"
    assert (tmp_path / "image.png").read_bytes().startswith(b"\x89PNG")
    assert '"command":"terrasynth generate' in done.stdout
    names: dict = {}
    exec(block("from openai ").replace(SERVER, server), names)
    assert [image.seed for image in names["answer"].data] == [7, 8]


def test_jobs_are_submitted_followed_canceled_and_retried(server, shell, runs, job_store):
    done = shell(block("ID=$(terrasynth jobs submit"), TERRASYNTH_SERVER=server)
    assert done.returncode == 0, done.stderr
    jobs = job_store.list(limit=9)
    assert sorted(job.kind for job in jobs) == ["export", "run", "run", "run"]
    assert {job.state for job in jobs} == {State.SUCCEEDED}
    assert "canceled" in done.stdout
    assert len(list((runs / "exports" / "shore-coco").rglob("*.png"))) == 2 * 4


def test_a_server_and_workers_meet_in_a_database(postgres, runs, python):
    database = new_database(postgres, "page")
    serve, worker = [
        ["-m", *shlex.split(line.replace(RUNS, str(runs)).replace(DATABASE, database), comments=True)]
        for line in block("pip install -c constraints.txt '.[service,postgres]'\n").splitlines()[1:]]
    said, theirs = os.pipe()
    started = [python.start(*serve, "--port", "0", stdout=theirs, env=os.environ | {"PYTHONUNBUFFERED": "1"})]
    os.close(theirs)
    try:
        with os.fdopen(said) as lines:
            address = lines.readline().split()[1]
        started.append(python.start(*worker, "--spare-memory", "0", "--spare-disk", "0"))
        job = Client(address, patience=60).submit({
            "kind": "run", "data_set": "coast", "recipe": {"generator": {"model": "ldm-ucm", "steps": 1},
                                                           "prompts": {"classes": ["beach"]}, "filters": [],
                                                           "target": {"per_class": 2, "max_attempts": 2}}})
        assert wait_for(JobStore(database), job["id"]).state is State.SUCCEEDED
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
