"""Jobs that are done by real child processes: every kind, cancel, stop, death, and what a child prints."""

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from terrasynth.synthesis import Recipe, run
from terrasynth.synthesis.core.files import locked
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.service import children
from terrasynth.synthesis.service.data_sets import DataSets
from terrasynth.synthesis.service.places import draws_folder, export_folder, log_file
from terrasynth.synthesis.service.specs import parse_spec
from terrasynth.synthesis.service.states import State
from tests.synthesis.helpers import fingerprint
from tests.synthesis.service.cells import RECIPE, install_cells
from tests.synthesis.service.helpers import supervised, wait_for, wait_for_event, work_settings

ENDLESS = {"per_class": 10_000, "max_attempts": 100_000}
KILLER = """
import os, signal
os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.fixture(autouse=True)
def _cells(tmp_path, monkeypatch):
    install_cells(tmp_path / "site", monkeypatch)


@pytest.fixture
def at_once(started_at_once):
    """Children of supervisors of this process are forks, with stdin, group and signals of their own."""
    with started_at_once(children):
        yield


@pytest.fixture
def work(runs):
    return work_settings(runs)


def submit(job_store, **tree):
    return job_store.create(parse_spec(tree))[0].id


def types(job_store, job):
    return [event.type for event in job_store.events(job, limit=10_000)]


@pytest.mark.usefixtures("at_once")
def test_jobs_of_every_kind_in_one_go(job_store, work, runs, tmp_path):
    """One supervisor and few processes: each costs seconds to start."""
    run(Recipe.parse(RECIPE), tmp_path / "direct")
    with supervised(work, job_store):
        made = submit(job_store, kind="run", data_set="coast", recipe=RECIPE)
        plan = submit(job_store, kind="plan", recipe=RECIPE)
        draw = submit(job_store, kind="draw", model="cells", prompts=["a beach", "a river"], seeds=[3, 4])
        expand = submit(job_store, kind="expand", classes=["beach", "Forest"], count=3)
        wrong = submit(job_store, kind="draw", model="nowhere", prompts=["a beach"], seeds=[0])
        export = submit(job_store, kind="export", data_set="coast", format="imagefolder", out="folder")
        push = submit(job_store, kind="push", data_set="coast", repo="me/coast", offline=True,
                      licence={"id": "cc-by-4.0"})
        unstated = submit(job_store, kind="push", data_set="coast", repo="me/coast", offline=True)
        absent = submit(job_store, kind="evaluate", data_set="nowhere")
        ended = {job: wait_for(job_store, job)
                 for job in (made, plan, draw, expand, wrong, export, push, unstated, absent)}
    assert {job for job, found in ended.items() if found.state is not State.SUCCEEDED} == {wrong, unstated, absent}
    assert ended[absent].error == "there is no data set 'nowhere'; make it first"
    assert ended[unstated].error.startswith("the licence of 'coast' has to be stated")
    assert "model 'nowhere' is neither embedded nor inside the server's --models" in ended[wrong].error

    # the data set is that of the command line, and its events say how it came to be
    assert ended[made].state is State.SUCCEEDED
    assert fingerprint(runs / "coast" / "data") == fingerprint(tmp_path / "direct" / "data")
    events = job_store.events(made)
    assert [event.type for event in events[:3]] == ["queued", "started", "planned"]
    blocks = [event.data for event in events if event.type == "block"]
    files = [(path.parent.name, int(path.stem)) for path in (runs / "coast" / "blocks").rglob("*.parquet")]
    assert sorted((block["label"], block["index"]) for block in blocks) == sorted(files)
    assert {len(block["verdicts"]) for block in blocks} == {2}
    assert sum(verdict is None for block in blocks for verdict in block["verdicts"]) == 27
    written = [event.data["part"] for event in events if event.type == "writing"]
    assert written == ["decisions", "data", "report", "card"]
    assert [count["accepted"] for count in ended[made].result["counts"]] == [9, 9, 9]
    assert ended[made].progress["accepted"] == ended[made].progress["target"] == 27
    assert "27 images of 3 classes" in log_file(runs, made).read_text()

    assert (ended[plan].result["present"], ended[plan].result["at_least"], ended[plan].result["costs"]) == (0, 30, {})
    assert set(ended[plan].result["prompts"]) == {"beach", "forest", "river"}
    shown = ended[draw].result
    assert (shown["images"], shown["seeds"], shown["withheld"]) == (["0.png", "1.png"], [3, 4], [])
    assert Image.open(draws_folder(runs, draw) / "1.png").size == (shown["width"], shown["height"])
    assert [prompt["label"] for prompt in ended[expand].result["prompts"]] == ["beach", "forest", "beach"]
    assert ended[export].result["rows"] == {"train": 27}
    assert (export_folder(runs, "folder") / "train" / "metadata.jsonl").is_file()
    assert ended[push].result["rows"] == 27
    assert {file["path"] for file in ended[push].result["send"]} > {"README.md", "data/train-00000.parquet"}


@pytest.mark.slow
@pytest.mark.usefixtures("at_once")
def test_a_data_set_is_judged(job_store, runs, models):
    """With models inside `--models`, which a request calls by their names."""
    job = submit(job_store, kind="run", data_set="coast", recipe=RECIPE)
    judged = submit(job_store, kind="evaluate", data_set="coast", encoder="clip", classifier="scene", limit=12)
    with supervised(work_settings(runs, models.generator.parent), job_store):
        assert wait_for(job_store, job).error is None
        found = wait_for(job_store, judged)
    assert (found.state, found.error) == (State.SUCCEEDED, None)
    assert json.loads((runs / "coast" / "evaluation.json").read_text()).keys() == found.result["figures"].keys()
    printed = log_file(runs, judged).read_text().splitlines()
    assert found.result["lines"] == [line for line in printed if line in found.result["lines"]] != []


@pytest.mark.usefixtures("at_once")
def test_the_nearest_real_image_is_found_and_shown(job_store, runs):
    with supervised(work_settings(runs, data=runs / "exports"), job_store):
        job = submit(job_store, kind="run", data_set="coast", recipe=RECIPE)
        assert wait_for(job_store, job).error is None
        out = submit(job_store, kind="export", data_set="coast", format="imagefolder", out="folder")
        assert wait_for(job_store, out).error is None
        run = RunDirectory.open(runs / "coast")
        wanted = run.blocks.read("forest", 0, ["text", "image"]).to_pylist()[1]
        found = [wait_for(job_store, submit(job_store, kind="nearest", data_set="coast", real="folder", label=label,
                                            k=k)) for label, k in (("forest", 1), ("../coast", 0), ("forest", 99))]
    assert [each.state for each in found] == [State.SUCCEEDED, State.FAILED, State.FAILED]
    assert (found[0].result["text"], found[0].result["among"]) == (wanted["text"], 27)
    assert found[0].result["correlation"] == pytest.approx(1, abs=1e-3)
    shown = (draws_folder(runs, found[0].id) / "0.png").read_bytes()
    assert np.array_equal(decode(shown), decode(wanted["image"]["bytes"]))
    assert found[1].error == "data set 'coast' has no attempt 0 of '../coast'; its classes are beach, forest, river"
    assert found[2].error.startswith("data set 'coast' has no attempt 99 of 'forest'")


@pytest.mark.usefixtures("at_once")
def test_cancel_ends_between_blocks_and_retry_goes_on(job_store, work, runs):
    job = submit(job_store, kind="run", data_set="coast", recipe=RECIPE | {"target": ENDLESS})
    with supervised(work, job_store):
        wait_for_event(job_store, job, "block")
        job_store.cancel(job)
        found = wait_for(job_store, job)
        assert (found.state, found.deaths, found.result["stopped"]) == (State.CANCELED, 0, True)
        assert not list((runs / "coast").rglob("*.tmp"))
        blocks = sorted((runs / "coast" / "blocks").rglob("*.parquet"))
        assert len(blocks) == types(job_store, job).count("block") > 0
        before = found.result["accepted"]
        job_store.retry(job)
        wait_for(job_store, job, lambda job: (job.progress or {}).get("attempted", 0) > 4 * len(blocks))
        job_store.cancel(job)
        assert wait_for(job_store, job).result["accepted"] >= before
    told = [(event.data["label"], event.data["index"]) for event in job_store.events(job, limit=10_000)
            if event.type == "block"]
    assert len(set(told)) == len(told) > len(blocks)


@pytest.mark.usefixtures("at_once")
def test_a_supervisor_that_ends_gives_its_jobs_back(job_store, work, runs):
    job = submit(job_store, kind="run", data_set="coast", recipe=RECIPE | {"target": ENDLESS})
    with supervised(work, job_store) as stop:
        wait_for_event(job_store, job, "block")
        stop.set()
    found = job_store.get(job)
    assert (found.state, found.deaths, found.worker) == (State.QUEUED, 0, None)
    assert types(job_store, job)[-1] == "stopped"


def test_a_job_that_kills_its_process_three_times_is_set_aside(job_store, work, runs, tmp_path, monkeypatch):
    """A library that crashes as it is imported, found before the real one."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("print('about to crash', flush=True)\n" + KILLER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path / "broken", tmp_path / "site"))))
    job = submit(job_store, kind="run", data_set="coast", recipe=RECIPE)
    with supervised(work, job_store):
        found = wait_for(job_store, job)
    assert (found.state, found.attempts, found.deaths) == (State.SET_ASIDE, 3, 3)
    assert "signal 11, SIGSEGV" in found.error
    ended = job_store.events(job)[-1]
    assert ended.data["log"].count("about to crash") == 3
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    job_store.retry(job)
    with supervised(work, job_store):
        assert wait_for(job_store, job).state is State.SUCCEEDED


@pytest.mark.usefixtures("at_once")
def test_a_run_that_the_command_line_holds_is_waited_for(job_store, work, runs):
    job = submit(job_store, kind="run", data_set="coast", recipe=RECIPE)
    with supervised(work, job_store):
        with locked(runs / "coast"):
            wait_for_event(job_store, job, "waiting")
            assert job_store.get(job).state in (State.QUEUED, State.RUNNING)
        assert wait_for(job_store, job).state is State.SUCCEEDED
    waiting = next(event for event in job_store.events(job) if event.type == "waiting")
    assert "is in use by another process" in waiting.data["reason"]


def test_a_machine_that_is_short_of_memory_begins_nothing(job_store, work):
    job = submit(job_store, kind="run", data_set="coast", recipe=RECIPE)
    with supervised(replace(work, spare_memory=2**60), job_store):
        wait_for_event(job_store, job, "waiting")
    found = job_store.get(job)
    assert (found.state, found.attempts) == (State.QUEUED, 0)
    reason = next(event.data["reason"] for event in job_store.events(job) if event.type == "waiting")
    assert reason.endswith("MiB of memory are free, fewer than 1099511627776; end other programs")


@pytest.mark.usefixtures("at_once")
def test_a_missed_target_is_a_state_of_its_own(job_store, work):
    white = [{"kind": "brightness", "min_mean": 254, "max_mean": 255}]  # a filter of the example plug-in
    impossible = RECIPE | {"filters": white, "target": {"per_class": 1, "max_attempts": 4}}
    job = submit(job_store, kind="run", data_set="coast", recipe=impossible)
    with supervised(work, job_store):
        found = wait_for(job_store, job)
    assert found.state is State.MISSED_TARGET
    none = r"\(0 of 1; brightness: best score \d+, threshold 254\)"
    assert re.match(f"target missed by beach {none}, forest {none}, river {none} after 4 attempts", found.error)


@pytest.mark.usefixtures("at_once")
def test_a_run_that_waits_for_people_has_a_state_of_its_own(job_store, work, runs):
    waits = RECIPE | {"filters": [{"kind": "review", "undecided": "drop"}], "target": {"per_class": 1}}
    job = submit(job_store, kind="run", data_set="coast", recipe=waits)
    with supervised(work, job_store):
        found = wait_for(job_store, job)
    assert found.state is State.WAITS_FOR_REVIEW
    assert found.error == ("3 images wait for review (beach 1, forest 1, river 1): its review page shows them, then "
                           "another run of it takes the verdicts in")
    with closing(DataSets(runs, job_store)) as data_sets:
        assert data_sets.one("coast").state == "waits_for_review"


def test_the_supervisor_loads_no_model():
    code = ("import sys; import terrasynth.synthesis.service.supervisor, terrasynth.synthesis.service.client; "
            "print(*sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []
