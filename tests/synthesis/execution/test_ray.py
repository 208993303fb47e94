"""A run on a Ray cluster gives the bytes of a run in one process, whatever is killed.

`TERRASYNTH_RAY_KILLS=20` kills the run, its workers and the raylet as often; without it there are a few kills.
"""

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.events import BlockDone, WorkerLost, WorkerReady
from terrasynth.synthesis.execution.ray_cluster import _ask_for_a_token, worker_resources
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.recipe import Recipe, RuntimeSettings
from tests.worker_cells import assert_same, tree

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")
KILLS = int(os.environ.get("TERRASYNTH_RAY_KILLS", "3"))


@pytest.fixture(scope="module")
def cluster(place):
    """One cluster for several runs, as a notebook has it: a run uses the connection that is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        ray.init(address="local", num_cpus=4, include_dashboard=False, object_store_memory=100 * 2**20,
                 log_to_driver=False)
        yield
        ray.shutdown()


def on_ray(workers=2, **changes):
    return Recipe.parse(tree(executor="ray", workers=workers, **changes))


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("workers", [2, 4])  # one: `test_steps_and_logs_of_an_actor_are_heard_here`
def test_any_number_of_workers_gives_the_bytes_of_one_process(whole, accidents, tmp_path, workers):
    (accidents / "slow").write_text("0.3")
    seen = []
    run(on_ray(workers), tmp_path / "run", seen.append)
    assert_same(tmp_path / "run", whole)
    assert {event.worker for event in seen if isinstance(event, BlockDone)} <= set(range(workers))
    assert len({event.process for event in seen if isinstance(event, WorkerReady)}) >= 1
    assert ray.is_initialized(), "a connection that was there before stays"


@pytest.mark.usefixtures("cluster")
def test_workers_that_are_killed_or_hang_cost_their_blocks_alone(whole, accidents, tmp_path):
    for accident in ("kill-0", "kill-1", "hang-0"):
        (accidents / accident).touch()
    seen = []
    result = run(on_ray(block_timeout=12.0), tmp_path / "run", seen.append)
    lost = [event.reason for event in seen if isinstance(event, WorkerLost)]
    ended = [reason for reason in lost if reason.startswith("it took longer than 12 s")]
    assert ended, "on a busy machine a block may take as long that does not hang, and is made by another, too"
    assert [reason.startswith("its actor is lost: ") for reason in lost if reason not in ended] == [True, True]
    assert (result.failed, result.missed) == ((), ())
    assert_same(tmp_path / "run", whole)


@pytest.mark.usefixtures("cluster")
def test_a_block_that_fails_three_times_is_named_and_the_other_executor_makes_it(whole, accidents, tmp_path):
    (accidents / "always").write_text("river")
    result = run(on_ray(), tmp_path / "run")
    assert [(failed.label, failed.index, len(failed.reasons)) for failed in result.failed] == [("river", 0, 3)]
    (accidents / "always").unlink()
    run(Recipe.parse(tree()), tmp_path / "run")
    assert_same(tmp_path / "run", whole)


@pytest.mark.usefixtures("cluster")
def test_steps_and_logs_of_an_actor_are_heard_here(whole, accidents, tmp_path, caplog):
    (accidents / "steps").touch()
    out, seen = tmp_path / "run", []
    run(Recipe.parse(tree()), out, should_stop=lambda: True)
    damaged = out / "ahead" / "blocks" / "forest" / "00000.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no parquet")
    run(on_ray(1), out, seen.append)
    assert "Drawing" in {type(event).__name__ for event in seen}
    assert "worker 0: " in caplog.text
    assert "it was made ahead and is drawn again" in caplog.text
    assert_same(out, whole)


def children_of(pid, name):
    """Processes of a name below a process."""
    found, parents = [], {pid}
    rows = {}
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = dict(line.split(":\t", 1) for line in (each / "status").read_text().splitlines() if ":\t" in line)
            rows[int(each.name)] = (int(status["PPid"]), status["Name"])
    while parents:
        parents = {child for child, (parent, _) in rows.items() if parent in parents}
        found += [child for child in parents if rows[child][1].startswith(name)]
    return found


@pytest.mark.slow
def test_the_run_its_workers_and_the_raylet_are_killed_at_random(python, place, accidents, tmp_path):
    """Each time in a cluster of its own, of which nothing stays that works (Ray's agents take half a minute to end)."""
    (accidents / "slow").write_text("0.4")
    recipe, out, chance = tmp_path / "recipe.yaml", tmp_path / "run", random.Random(KILLS)
    wanted = {"target": {"per_class": 9 * KILLS, "max_attempts": 60 * KILLS}}
    recipe.write_text(yaml.safe_dump(tree(executor="ray", workers=2) | wanted))
    killed = dict.fromkeys(["run", "raylet", "ray::"], 0)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for number in range(KILLS):
        kind = list(killed)[number % 3]
        driver = python.start("-m", "terrasynth", "run", recipe, "--out", out, env=environment)
        while not children_of(driver.pid, "ray::BlockActor" if kind != "raylet" else "raylet"):
            assert driver.poll() is None, driver.communicate()[1]
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 4))
        started = [pid for name in ("raylet", "gcs_server", "ray::BlockActor") for pid in children_of(driver.pid, name)]
        victims = [driver.pid] if kind == "run" else children_of(driver.pid, kind)
        os.kill(chance.choice(victims), signal.SIGKILL)
        killed[kind] += 1
        if kind == "ray::":  # the run goes on
            time.sleep(chance.uniform(0, 4))
            assert driver.poll() is None, driver.communicate()[1]
            driver.kill()
        _, said = driver.communicate()
        if kind == "raylet":
            assert driver.returncode != 0
            assert "Traceback" not in said
        while any(Path(f"/proc/{pid}").exists() for pid in started):
            time.sleep(0.05)
    print(f"killed: {killed}")
    whole = place / f"whole-{KILLS}"
    run(Recipe.parse(tree() | wanted), whole)
    run(Recipe.parse(tree(executor="ray", workers=2) | wanted), out)
    assert_same(out, whole)


@pytest.mark.slow
def test_a_machine_that_goes_costs_the_blocks_of_its_workers(python, whole, accidents, tmp_path):
    """Two nodes of a cluster, of which the one without the run is ended in the middle of its blocks."""
    from ray.cluster_utils import Cluster

    (accidents / "slow").write_text("1")
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        try:
            other = nodes.add_node(num_cpus=2)
            recipe.write_text(yaml.safe_dump(tree(executor="ray", address=nodes.address)))
            driver = python.start("-m", "terrasynth", "run", recipe, "--out", out, env=dict(os.environ))
            while not list(out.glob("ahead/blocks/*/*.parquet")) and driver.poll() is None:
                time.sleep(0.05)
            nodes.remove_node(other, allow_graceful=False)
            _, said = driver.communicate()
        finally:
            nodes.shutdown()
    assert driver.returncode == 0, said
    assert " of 3 is ready: process " in said, "as many as there was room for"
    assert "its actor is lost: " in said
    assert_same(out, whole)


@pytest.mark.usefixtures("cluster")
def test_another_cluster_than_the_connected_one_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"this process is connected to the Ray cluster at .*, and runtime.address is"):
        run(on_ray(address="127.0.0.1:9"), tmp_path / "elsewhere")


def test_what_a_user_can_mend_is_said(python, monkeypatch, tmp_path, place):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"runtime.executor ray needs Ray: pip install 'terrasynth\[ray\]'"):
        run(on_ray(), tmp_path / "none")
    monkeypatch.undo()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree(executor="ray", address="127.0.0.1:9")))
    said = python.run("-m", "terrasynth", "run", recipe, "--out", tmp_path / "nowhere", env=os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path)})
    assert said.returncode == 2
    assert "no Ray cluster can be had at 127.0.0.1:9 " in said.stderr


def test_a_mode_is_set_before_ray_reads_it_and_never_after(monkeypatch, caplog):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    _ask_for_a_token()
    assert "RAY_AUTH_MODE" not in os.environ
    assert "Ray was imported before the run" in caplog.text
    monkeypatch.delitem(sys.modules, "ray")
    _ask_for_a_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    given = os.environ["RAY_AUTH_TOKEN"]
    _ask_for_a_token()
    assert os.environ["RAY_AUTH_TOKEN"] == given, "what a user has set stays"
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        del os.environ[name]  # what was there before comes back by itself


@pytest.mark.parametrize(("settings", "device", "wanted"), [
    ({}, "cpu", (3.0, 0.0)), ({}, "cuda", (1.0, 1.0)), ({"worker_cpus": 2, "worker_gpus": 0.5}, "cuda:0", (2.0, 0.5)),
])
def test_what_a_worker_takes(settings, device, wanted):
    runtime = Runtime(device=device, dtype="float32", micro_batch=1, threads=3, torch="2.13.0")
    assert worker_resources(RuntimeSettings(**settings), runtime) == wanted
