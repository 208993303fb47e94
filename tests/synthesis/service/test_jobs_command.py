"""`terrasynth jobs ...` against a real server, the command `serve` before it listens, and what ends a stream early."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import yaml

from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.service.client import Client
from terrasynth.synthesis.service.places import token_file
from terrasynth.synthesis.service.specs import LONG, parse_spec
from terrasynth.synthesis.service.states import State
from tests.synthesis.service.web import TOKEN, web_server

RECIPE = {"generator": {"model": "ldm-ucm"}, "prompts": {"classes": ["beach"]}}


@pytest.fixture
def server(settings, job_store):
    with web_server(settings, job_store) as address:
        yield address


@pytest.fixture
def jobs(terrasynth, server):
    def call(*arguments):
        return terrasynth("jobs", *arguments, "--server", server)

    return call


def lease(job_store):
    return job_store.lease("w", 600, LONG)


def test_submit_list_show_and_cancel(jobs, job_store, tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    code, out, _ = jobs("submit", tmp_path / "recipe.yaml", "--data-set", "coast", "--set", "target.per_class=3",
                        "--priority", "7", "--key", "k")
    assert code == 0
    job = job_store.get(out.strip())
    assert (job.priority, job.data_set, job.spec["recipe"]["target"]["per_class"]) == (7, "coast", 3)
    again = jobs("submit", tmp_path / "recipe.yaml", "--data-set", "coast", "--set", "target.per_class=3",
                 "--priority", "7", "--key", "k")[1]
    assert again.strip() == job.id
    assert jobs("submit", "demo", "--data-set", "coast", "--key", "k")[2][-1].startswith(
        f"terrasynth: error: the idempotency key 'k' was used for another job ({job.id})")
    _, out, _ = jobs("list", "--state", "queued")
    assert out.split() == [job.id, "queued", "run", "coast"]
    shown = json.loads(jobs("show", job.id)[1])
    assert (shown["id"], shown["state"]) == (job.id, "queued")
    assert jobs("cancel", job.id)[1] == "canceled\n"
    assert job_store.get(job.id).state is State.CANCELED
    assert jobs("retry", job.id)[1] == "queued\n"


def test_a_job_of_another_kind_comes_from_a_file(jobs, job_store, data_set, tmp_path):
    (tmp_path / "job.yaml").write_text("{kind: export, data_set: tiny, format: coco, out: mine}")
    _, out, _ = jobs("submit", "--spec", tmp_path / "job.yaml")
    assert job_store.get(out.strip()).spec["format"] == "coco"
    (tmp_path / "job.yaml").write_text("[")
    assert "write JSON or YAML" in jobs("submit", "--spec", tmp_path / "job.yaml")[2][-1]
    assert "a job needs --data-set NAME, or --spec FILE" in jobs("submit", "demo")[2][-1]


def test_follow_prints_each_event_and_says_how_it_ended(jobs, job_store):
    job = jobs("submit", "demo", "--data-set", "coast")[1].strip()
    held = lease(job_store)
    job_store.begin(held)
    count = {"label": "beach", "attempted": 4, "accepted": 3, "target": 5}
    job_store.append(held, "block", {**count, "index": 0, "drawn": 4, "seconds": 1.0, "verdicts": []})
    job_store.finish(held, State.FAILED, error="the disk is full")
    code, out, err = jobs("follow", job)
    assert code == 1
    assert err[-1] == "terrasynth: error: the disk is full"
    lines = [line.split(maxsplit=1)[1] for line in out.splitlines()]
    assert lines[0] == "queued"
    assert lines[1].startswith("started")
    assert lines[2] == "block       beach 3/5 accepted of 4 attempts"
    assert lines[3] == "ended       failed the disk is full"
    told = [json.loads(line) for line in jobs("follow", job, "--json", "--after", "2")[1].splitlines()]
    assert [event["number"] for event in told] == [3, 4]


def test_a_follower_outlives_its_server(settings, job_store):
    """Events come before, while and after there is no server; each is seen once."""

    job = job_store.create(parse_spec({"kind": "run", "data_set": "coast"}))[0].id
    held, seen, some = lease(job_store), [], threading.Event()

    def follow(address):
        for event in Client(address, patience=120).follow(job):
            seen.append(event["number"])
            some.set()

    with web_server(settings, job_store) as address:
        thread = threading.Thread(target=follow, args=(address,))
        thread.start()
        some.wait()
    job_store.append_all(held, [("block", {"index": index}) for index in range(30)])
    with web_server(replace(settings, port=int(address.rpartition(":")[2])), job_store):
        job_store.append_all(held, [("block", {"index": index}) for index in range(30)])
        job_store.finish(held, State.SUCCEEDED)
        thread.join()
    assert seen == list(range(1, 63))


def test_a_server_that_is_not_there_is_named(terrasynth):
    with pytest.raises(RunError, match=r"server 'http://127.0.0.1:9' does not answer: .*; start it with `terrasynth "):
        Client("http://127.0.0.1:9", patience=0).list()
    assert terrasynth("jobs", "list", "--server", "nothing")[2][-1].startswith(
        "terrasynth: error: server 'nothing' is no address; write it as http://127.0.0.1:8765")


def test_the_token_goes_to_the_server_alone(settings, job_store, tmp_path, terrasynth):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with web_server(replace(settings, token=TOKEN), job_store) as address:
        with pytest.raises(InputError, match="the token of this server is missing or wrong"):
            Client(address).list()
        assert terrasynth("jobs", "list", "--server", address, "--token-file", tmp_path / "token")[0] == 0


def test_serve_on_another_address_needs_a_token(terrasynth, tmp_path, monkeypatch):
    monkeypatch.delenv("TERRASYNTH_TOKEN", raising=False)
    code, _, err = terrasynth("serve", "--host", "0.0.0.0", "--runs", tmp_path / "runs")
    assert code == 2
    assert err[-1].startswith("terrasynth: error: host '0.0.0.0' is reached from other machines, and there is no token")
    assert not (tmp_path / "runs").exists()


def test_serve_makes_a_token_that_only_its_user_reads_and_says_only_where(tmp_path):
    runs = tmp_path / "runs"
    process = subprocess.Popen([sys.executable, "-m", "terrasynth", "serve", "--runs", runs, "--port", "0",
                                "--new-token", "--no-workers"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    lines = [process.stdout.readline(), process.stdout.readline()]
    token = token_file(runs).read_text().strip()
    assert stat.S_IMODE(token_file(runs).stat().st_mode) == 0o600
    assert stat.S_IMODE(token_file(runs).parent.stat().st_mode) == 0o700
    assert lines[0].startswith(f"token      {token_file(runs)}")
    address = lines[1].split()[1]
    assert Client(address, token, patience=60).list()["jobs"] == []
    with pytest.raises(InputError, match="the token of this server is missing or wrong"):
        Client(address).list()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate()
    assert process.returncode == 0
    assert token not in "".join([*lines, rest])


def test_a_retry_whose_answer_is_lost_is_one(settings, job_store, monkeypatch):
    job = job_store.create(parse_spec({"kind": "run", "data_set": "coast"}))[0].id
    job_store.cancel(job)
    with web_server(settings, job_store) as address:
        client = Client(address)
        opened, lost = client._opener.open, []

        def lose(request, timeout):
            answer = opened(request, timeout=timeout)
            if request.method == "POST" and not lost:
                lost.append(answer.read())
                raise ConnectionResetError
            return answer

        monkeypatch.setattr(client._opener, "open", lose)
        assert client.retry(job)["state"] == "queued"
        assert [event.type for event in job_store.events(job)].count("queued") == 2
        with pytest.raises(InputError, match="is queued, and only one that ended without success"):
            client.retry(job)


def test_serve_begins_no_job_where_it_cannot_listen(terrasynth, runs, job_store):
    job = job_store.create(parse_spec({"kind": "run", "data_set": "coast"}))[0].id
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = terrasynth("serve", "--runs", runs, "--port", str(taken.getsockname()[1]), "--spare-memory", "0")
    assert (code, "choose another --port" in err[-1]) == (2, True)
    assert (job_store.get(job).state, len(list(job_store.events(job)))) == (State.QUEUED, 1)
