"""A run in several processes gives the bytes of a run in one, whatever happens to them."""

import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest
import torch
import yaml

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.events import BlockDone, WorkerLost, WorkerReady
from terrasynth.synthesis.execution import pool, worker_process
from terrasynth.synthesis.execution.base import BlockOrder
from terrasynth.synthesis.execution.processes import environment, worker_count
from terrasynth.synthesis.execution.runtime_record import RuntimeRecord
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.recipe import Recipe, RuntimeSettings
from terrasynth.synthesis.verify.verifying import verify
from tests.worker_cells import CLASSES, assert_same, tree, workers_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are looked for in /proc")


@pytest.fixture
def at_once(started_at_once):
    """Workers of this process are forks, which are killed, hang and end as others do."""
    with started_at_once(worker_process):
        yield


def in_processes(workers=2, **changes):
    return Recipe.parse(tree(executor="processes", workers=workers, **changes))


@pytest.mark.usefixtures("at_once")
def test_blocks_that_finish_in_any_order_give_the_bytes_of_one_process(whole, accidents, tmp_path):
    (accidents / "slow").write_text("0.3")
    seen = []
    result = run(in_processes(4), tmp_path / "run", seen.append)
    assert_same(tmp_path / "run", whole)
    drawn = [event for event in seen if isinstance(event, BlockDone)]
    assert sum(event.drawn for event in drawn) + result.ahead == result.drawn
    assert {event.worker for event in seen if isinstance(event, WorkerReady)} <= set(range(4))
    assert len({event.worker for event in drawn}) > 1
    for label in CLASSES:
        assert [event.index for event in drawn if event.count.label == label] == list(
            range(sum(event.count.label == label for event in drawn)))
    assert run(Recipe.parse(tree()), tmp_path / "run").drawn == 0, "it is finished, whatever made it"
    assert workers_of(tmp_path / "run") == []


@pytest.mark.parametrize("order", [("processes", "local"), ("local", "processes")])
@pytest.mark.usefixtures("at_once")
def test_half_by_one_executor_and_half_by_the_other(whole, tmp_path, order):
    asked = []

    def after_four_blocks():
        asked.append(0)
        return len(asked) > 4

    out = tmp_path / "run"
    assert run(Recipe.parse(tree(executor=order[0])), out, should_stop=after_four_blocks).stopped
    assert not run(Recipe.parse(tree(executor=order[1])), out).stopped
    assert_same(out, whole)


@pytest.mark.usefixtures("at_once")
def test_workers_that_are_killed_cost_their_blocks_alone(whole, accidents, tmp_path):
    for number in range(2):
        (accidents / f"kill-{number}").touch()
    seen = []
    result = run(in_processes(), tmp_path / "run", seen.append)
    lost = [event for event in seen if isinstance(event, WorkerLost)]
    assert [event.reason for event in lost] == ["it was killed by SIGKILL"] * 2
    assert len([event for event in seen if isinstance(event, WorkerReady)]) >= 3
    assert (result.failed, result.missed) == ((), ())
    assert_same(tmp_path / "run", whole)


@pytest.mark.usefixtures("at_once")
def test_a_block_that_fails_three_times_is_named_and_the_rest_is_made(terrasynth, whole, accidents, tmp_path, place):
    (accidents / "always").write_text("river")
    recipe = place / "fails.yaml"
    recipe.write_text(yaml.safe_dump(tree(executor="processes", workers=2)))
    code, _, lines = terrasynth("run", recipe, "--out", tmp_path / "run")
    said = "\n".join(lines)
    assert code == 1
    assert "river: block 0 failed 3 times (it was killed by SIGKILL); the class ends before it" in said
    assert " of 2 is ready: process " in said
    assert " | blocks by worker " in said
    assert "it was killed by SIGKILL; block 0 of river is made again" in said
    assert "error: block 0 of river (it was killed by SIGKILL) failed 3 times and was left out" in said
    assert not (tmp_path / "run" / "finished.json").exists()
    (accidents / "always").unlink()
    seen = []
    result = run(in_processes(), tmp_path / "run", seen.append)
    labels = {event.count.label for event in seen if isinstance(event, BlockDone) and event.drawn}
    assert labels == {"river"}
    assert (result.failed, result.missed) == ((), ())
    assert_same(tmp_path / "run", whole)


@pytest.mark.usefixtures("at_once")
def test_a_worker_that_hangs_is_ended_and_its_block_is_made_by_another(whole, accidents, tmp_path):
    (accidents / "hang-0").touch()
    seen = []
    run(in_processes(1, block_timeout=4.0), tmp_path / "run", seen.append)
    lost = {event.reason for event in seen if isinstance(event, WorkerLost)}  # one, and more on a busy machine
    assert lost == {"it took longer than 4 s for its block (runtime.block_timeout) and was ended"}
    assert_same(tmp_path / "run", whole)


@pytest.fixture
def start(python):
    """Starts a run, whose workers are what they are for a user; gives its process, and what it says as it says it."""

    def started(recipe, out):
        said, theirs = os.pipe()
        process = python.start("-m", "terrasynth", "run", recipe, "--out", out, stderr=theirs,
                               env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        os.close(theirs)
        return process, os.fdopen(said)

    return started


def wait_for(condition):
    """The tests have no clock: what never comes is ended from outside."""
    while not condition():
        time.sleep(0.01)


def stored(out):
    return sum(1 for _ in out.glob("*/*.parquet")) + sum(1 for _ in out.glob("*/*/*.parquet")) \
        + sum(1 for _ in out.glob("ahead/blocks/*/*.parquet"))


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree(executor="processes", workers=2)))
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("at_once")
def test_the_run_and_its_workers_are_killed_at_random(start, whole, accidents, recipe_file, tmp_path):
    (accidents / "slow").write_text("0.5")
    chance, out, killed = random.Random(0), tmp_path / "run", Counter()
    for _ in range(4):
        (driver, said), before = start(recipe_file, out), stored(out)
        wait_for(lambda driver=driver, before=before: stored(out) > before or driver.poll() is not None)
        for process in workers_of(out)[:1]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                killed["worker"] += 1
        time.sleep(chance.uniform(0, 1))
        driver.kill()
        said.close()
        driver.communicate()
        killed["run"] += driver.returncode == -signal.SIGKILL
        wait_for(lambda: not workers_of(out))
    assert min(killed["run"], killed["worker"]) >= 2
    run(in_processes(), out)
    assert_same(out, whole)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)])
def test_signals_leave_no_process_behind(start, whole, accidents, recipe_file, tmp_path, number, times):
    (accidents / "slow").write_text("0.5")
    for place in range(times - 1):
        (accidents / f"hang-{place}").touch()  # so that the first signal does not end it
    out = tmp_path / "run"
    driver, stderr = start(recipe_file, out)
    wait_for(lambda: stored(out) > 0 or driver.poll() is not None)
    driver.send_signal(number)
    said = ""
    if times == 2:
        while "press again" not in said:
            said += stderr.readline()
        driver.send_signal(number)
    with stderr:
        rest = stderr.read()
    driver.communicate()
    wait_for(lambda: not workers_of(out))
    assert "Traceback" not in said + rest
    if times == 1:
        assert driver.returncode == 1
        assert "stopped before the targets were reached; run the same command again to carry on" in rest
        assert not list(out.rglob("*.tmp"))
    else:
        assert driver.returncode == (-signal.SIGTERM if number == signal.SIGTERM else 1)
    for left in accidents.iterdir():
        left.unlink()
    run(Recipe.parse(tree()), out)
    assert_same(out, whole)


@pytest.mark.usefixtures("at_once")
def test_what_was_drawn_ahead_is_kept_and_used(place, accidents, tmp_path):
    """Of one class, with more workers than it needs at its end."""
    small = tree(executor="processes", workers=4) | {"target": {"per_class": 4, "max_attempts": 60}, "filters": []}
    small["prompts"] = {"expander": "grammar", "classes": ["beach"]}
    small["filters"] = [{"kind": "quality", "measure": "colour", "min_score": 50}]
    (accidents / "slow").write_text("0.5")
    result = run(Recipe.parse(small), tmp_path / "run")
    kept = sorted((tmp_path / "run" / "ahead").rglob("*.parquet"))
    assert len(kept) * 3 == result.ahead
    assert list(verify(tmp_path / "run")) == []
    larger = tree() | {"target": {"per_class": 20, "max_attempts": 90}, "prompts": small["prompts"],
                       "filters": small["filters"]}
    fresh = run(Recipe.parse(larger), tmp_path / "fresh")
    grown = run(Recipe.parse(larger), tmp_path / "run")
    assert grown.drawn + result.drawn == fresh.drawn
    assert not (tmp_path / "run" / "ahead").exists()
    assert_same(tmp_path / "run", tmp_path / "fresh")


@pytest.mark.usefixtures("at_once")
def test_a_damaged_block_that_was_made_ahead_is_drawn_again(whole, place, tmp_path, caplog):
    out = tmp_path / "run"
    run(Recipe.parse(tree()), out, should_stop=lambda: True)
    for index, damage in ((0, b"no parquet"), (1, None)):
        source = whole / "blocks" / "forest" / f"0000{index}.parquet"
        target = out / "ahead" / "blocks" / "forest" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(damage or source.read_bytes())
    result = run(in_processes(1), out)
    assert "worker 0: " in caplog.text
    assert "it was made ahead and is drawn again" in caplog.text
    everything = 3 * sum(1 for _ in (whole / "blocks").rglob("*.parquet"))
    assert result.drawn - result.ahead == everything - 3
    assert_same(out, whole)


@pytest.mark.usefixtures("at_once")
def test_prompts_that_depend_on_earlier_ones_travel_with_the_order(place, tmp_path):
    checked = tree() | {"prompts": {"expander": "grammar", "classes": CLASSES, "checks": {"near": 0.6}}}
    run(Recipe.parse(checked), tmp_path / "local")
    checked["runtime"] |= {"executor": "processes", "workers": 2}
    run(Recipe.parse(checked), tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "local")


@pytest.mark.usefixtures("at_once")
def test_measuring_again_draws_nothing(whole, place, tmp_path):
    """Blocks that exist are measured by workers, beside the blocks."""
    other = tree() | {"filters": [{"kind": "duplicate", "max_similarity": 0.9}]}
    for name, runtime in (("local", {}), ("processes", {"executor": "processes", "workers": 2})):
        run(Recipe.parse(tree() | {"filters": []}), tmp_path / name)
        other["runtime"] = tree()["runtime"] | runtime
        run(Recipe.parse(other | {"target": {"per_class": 8, "max_attempts": 9}}), tmp_path / name)
    assert_same(tmp_path / "processes", tmp_path / "local")


@pytest.mark.slow
@pytest.mark.usefixtures("at_once")
def test_a_real_pipeline_and_a_real_encoder(recipe, tmp_path):
    """Diffusion, alignment and duplicates by an encoder; exact, so that threads and portions decide nothing."""
    run(recipe, tmp_path / "local")
    changed = recipe.model_copy(update={"runtime": recipe.runtime.model_copy(
        update={"executor": "processes", "workers": 2})})
    run(changed, tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "local")


def test_a_worker_that_finds_another_expander_refuses(whole, place, tmp_path):
    """What a worker loads is compared with what the run was begun with."""
    from terrasynth.synthesis.execution.block_maker import BlockMaker

    run(Recipe.parse(tree()), tmp_path / "run", should_stop=lambda: True)
    path = tmp_path / "run" / "recipe.yaml"
    path.write_text(path.read_text().replace("expander: grammar", "expander: grammar\n  profile: open"))
    maker = BlockMaker.open(tmp_path / "run")
    with pytest.raises(RunError, match=r"has no runtime\.json, so nothing says how its blocks are drawn"):
        maker.draw("beach", 0)
    (tmp_path / "run" / "runtime.json").write_bytes((whole / "runtime.json").read_bytes())
    with pytest.raises(InputError, match=r"prompts of .* is not what the run was begun with"):
        maker.draw("beach", 0)
    with pytest.raises(InputError, match="it is no run"):
        BlockMaker.open(tmp_path)


@pytest.mark.parametrize(("runtime", "said"), [
    ({"executor": "procesess"}, r"runtime.executor 'procesess' is unknown \(did you mean 'processes'\?\); there is"),
    ({"executor": "local", "workers": 2}, "runtime.workers 2 means nothing to executor 'local'"),
    ({"executor": "processes", "workers": 0}, "runtime.workers"),
    ({"executor": "processes", "block_timeout": 0.0}, "runtime.block_timeout"),
])
def test_what_cannot_be_had_is_said_before_the_first_file(place, tmp_path, runtime, said):
    with pytest.raises(InputError, match=said):
        run(Recipe.parse(tree(**runtime)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("device", "visible", "gpus", "workers", "count", "given"), [
    ("cuda", None, 3, "auto", 3, ["0", "1", "2", "0"]), ("cuda", "5,7", 2, "auto", 2, ["5", "7", "5", "7"]),
    ("cuda", None, 4, 2, 2, ["0", "1", "2", "3"]), ("cuda", None, 1, "auto", 1, [None] * 4),
    ("cuda:1", None, 4, "auto", 1, [None] * 4), ("cpu", None, 4, 3, 3, [None] * 4),
])
def test_gpus_are_shared_out_under_the_name_that_is_recorded(monkeypatch, device, visible, gpus, workers, count, given):
    """Without a GPU here: which of those that torch counts each worker is shown."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    runtime = Runtime(device, "float32", 4, 1, torch.__version__)
    assert worker_count(RuntimeSettings(workers=workers), runtime) == count
    assert [environment(runtime, number, count).get("CUDA_VISIBLE_DEVICES") for number in range(4)] == given


def test_another_machine_among_the_workers_is_recorded_or_refused(whole, place, tmp_path, caplog):
    shutil.copytree(whole, tmp_path / "run")
    blocks = RunDirectory(tmp_path / "run").blocks
    identity = RunDirectory(tmp_path / "run").frozen.identity
    record = RuntimeRecord(blocks, identity)
    runtime = record.begin(record.so_far, False)
    assert record.admit(runtime, runtime.machine, True) == runtime
    other = dataclasses.replace(runtime.machine, processor="Another GPU")
    with pytest.raises(InputError, match=r"runtime.exact is true, and a worker draws otherwise .*-> Another GPU"):
        record.admit(runtime, other, True)
    admitted = record.admit(runtime, other, False)
    assert "a worker is another machine (processor: " in caplog.text
    assert record.admit(admitted, other, True) == admitted, "it is known"
    assert Runtime.read(tmp_path / "run").drew(dataclasses.replace(runtime, processor="Another GPU").drawn)


@pytest.mark.usefixtures("at_once")
def test_executor_workers_and_timeout_are_no_part_of_the_identity(whole, place, tmp_path):
    run(in_processes(1, block_timeout=60.0), tmp_path / "run", should_stop=lambda: True)
    one, other = (json.loads((folder / "identity.json").read_text()) for folder in (whole, tmp_path / "run"))
    assert one == other


def test_when_no_worker_is_left_all_that_waits_is_told_why():
    """Also what is ordered later: nobody may wait for what nobody makes, nor be told of another reason."""
    lost, tasks = RunError("worker 1 ended 3 times while it loaded"), pool._Tasks()
    waiting, begun, later = (pool._Task(BlockOrder("harbor", index, False), True, {}) for index in range(3))
    tasks.put(begun)
    assert tasks.take() is begun
    tasks.put(waiting)
    tasks.close(lost)
    tasks.put_first(begun)
    tasks.put(later)
    tasks.close()
    assert [each.made.exception(0) for each in (begun, waiting, later)] == [lost] * 3
    assert tasks.take() is None


def test_what_waits_when_a_run_ends_is_canceled():
    tasks, waiting = pool._Tasks(), pool._Task(BlockOrder("harbor", 0, False), True, {})
    tasks.put(waiting)
    tasks.close()
    assert waiting.made.cancelled()
