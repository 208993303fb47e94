"""Requests that schemathesis makes of the interface's own description: no 5xx, and no answer that it does not tell.

`TERRASYNTH_REQUESTS=10000` makes that many; without it there are a few hundred.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import httpx
import pytest

from terrasynth.synthesis.service.records import ConflictError, UnknownJobError
from terrasynth.synthesis.service.specs import parse_spec
from tests.synthesis.service.web import TOKEN, web_server

WANTED = int(os.environ.get("TERRASYNTH_REQUESTS", "300"))
SEED = int(os.environ.get("TERRASYNTH_SEED", "1"))
# What the description cannot say: that models and data sets have to exist, and what goes together in a recipe.
UNSAID = "positive_data_acceptance"


@pytest.fixture
def canceled(job_store):
    """Every job is canceled soon, so that no stream stays open and nobody waits for a worker that is not there."""
    done = threading.Event()

    def cancel():
        while not done.wait(0.02):
            for job in job_store.list(state="queued", limit=1000):
                try:
                    job_store.cancel(job.id)
                except (ConflictError, UnknownJobError):
                    continue

    thread = threading.Thread(target=cancel)
    thread.start()
    yield
    done.set()
    thread.join()


def requests_of(address):
    """How many requests were answered, and with which statuses."""
    text = httpx.get(f"{address}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60).text
    found: dict[int, int] = {}
    for line in text.splitlines():
        if line.startswith("terrasynth_requests_total{"):
            status = int(line.partition('status="')[2][:3])
            found[status] = found.get(status, 0) + int(float(line.rsplit(" ", 1)[1]))
    return found


def configured(found, **places):
    """A configuration in which parts of addresses are those of what is there."""
    refused = [400, 401, 403, 404, 405, 406, 409, 411, 413, 415, 422, 428, 429, 431]  # 413: a body that is too long
    found.write_text(f"[checks.negative_data_rejection]\nexpected-statuses = {refused}\n\n[parameters]\n" + "".join(
        f'"path.{place}" = "{value}"\n' for place, value in places.items()))
    return found


@pytest.mark.slow
def test_no_request_breaks_the_server(settings, job_store, written, canceled, tmp_path):
    guarded = replace(settings, token=TOKEN)
    with web_server(guarded, job_store) as address:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        rows = httpx.get(f"{address}/v1/data-sets/tiny/rows", headers=headers, timeout=60).json()["rows"]
        operations = sum(len(methods) for methods in httpx.get(
            f"{address}/v1/openapi.json", headers=headers).json()["paths"].values())
        there = {"name": "tiny", "row_id": rows[0]["id"], "file": "index.html"}

        def ask(config, phases, each, seed):
            done = subprocess.run(
                [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run",
                 f"{address}/v1/openapi.json", "--header", f"Authorization: Bearer {TOKEN}", "--checks", "all",
                 "--exclude-checks", UNSAID, "--max-examples", str(each), "--seed", str(seed), "--no-color",
                 "--phases", phases, "--continue-on-failure", "--request-timeout", "60",
                 "--generation-database", "none", "--suppress-health-check", "all"],
                capture_output=True, text=True, cwd=tmp_path, timeout=7200)
            assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]

        seed = SEED
        while sum(requests_of(address).values()) < WANTED:
            each = max(2, (WANTED - sum(requests_of(address).values())) // operations)
            job, lost = (job_store.create(parse_spec({"kind": "run", "data_set": "tiny"}))[0].id for _ in range(2))
            alone = configured(tmp_path / "alone.toml", **there, job_id=job)
            with alone.open("a") as more:  # the job that the others look at stays
                more.write(f'\n[[operations]]\ninclude-method = "DELETE"\ninclude-path = "/v1/jobs/{{job_id}}"\n'
                           f'parameters = {{ "path.job_id" = "{lost}" }}\n')
            ask(alone, "examples,fuzzing" if WANTED < 1000 else "examples,coverage,fuzzing", each, seed)
            assert job_store.get(job).id == job  # so answers about a job were of one that is there
            if WANTED >= 1000:  # what is made there is what is looked at, changed and forgotten there
                ask(configured(tmp_path / "stateful.toml", **there), "stateful", each, seed)
            seed += 1  # others than those of the round before
        statuses = requests_of(address)
        assert sum(statuses.values()) >= WANTED
        assert not [status for status in statuses if status >= 500], statuses
