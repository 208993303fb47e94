"""SIGKILL at random moments, and what else can happen to a process: full disk, a second process, a signal."""

import random
import signal
import time
from pathlib import Path

import pytest

import terrasynth.synthesis.core.files
import terrasynth.synthesis.execution.job
from terrasynth.synthesis import run
from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.helpers import fingerprint

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from terrasynth.synthesis.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def start(python, recipe_file):
    return lambda out, *options: python.start("-m", "terrasynth", "run", recipe_file, "--out", out, *options)


def wait_for_blocks(process, out, count):
    """Until `count` blocks exist or the process ended."""
    while process.poll() is None and sum(1 for _ in (out / "blocks").glob("*/*.parquet")) < count:
        time.sleep(0.002)


def cut_off(monkeypatch, writes, work):
    """Do something that is cut off after so many files were moved into place, again and again, until it ends by itself.

    Returns how often it was.
    """

    class Cut(BaseException):
        pass

    real, cuts = terrasynth.synthesis.core.files.os.replace, 0
    with monkeypatch.context() as patch:
        for _ in range(200):
            moved = []

            def replace(source, target, moved=moved):
                if len(moved) == writes:
                    Path(target).with_name(Path(target).name + ".left.tmp").write_bytes(Path(source).read_bytes())
                    raise Cut
                moved.append(target)
                real(source, target)

            patch.setattr(terrasynth.synthesis.core.files.os, "replace", replace)
            try:
                work()
                return cuts
            except Cut:
                cuts += 1
    raise AssertionError("it never ended")


@pytest.mark.slow
def test_killed_at_random_moments_equals_never_killed(recipe, start, run_once, tmp_path):
    moments = random.Random(0)
    out, killed = tmp_path / "killed", 0
    for blocks in (1, 3, 6):
        process = start(out)
        wait_for_blocks(process, out, blocks)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    last = start(out)
    _, stderr = last.communicate()
    assert last.returncode == 0, stderr
    assert killed >= 2
    assert fingerprint(out / "data") == fingerprint(run_once / "data")
    assert not list(out.rglob("*.tmp"))


def test_every_write_may_be_the_last(recipe, run_once, tmp_path, monkeypatch):
    """Cut the process off before its n-th file is moved into place, for every n, without any clean-up of its own."""
    out = tmp_path / "cut"
    assert cut_off(monkeypatch, 1, lambda: run(recipe, out)) >= 6
    assert fingerprint(out / "data") == fingerprint(run_once / "data")
    assert fingerprint(out / "blocks") == fingerprint(run_once / "blocks")


def test_second_process_on_a_run_is_refused(recipe, start, tmp_path):
    seen = []

    def during(event):
        if not seen:
            seen.append(start(tmp_path / "run").communicate()[1])

    run(recipe, tmp_path / "run", during)
    assert "is in use by another process; wait for it" in seen[0]
    assert "Traceback" not in seen[0]


def test_interrupt_ends_after_the_block_and_carries_on(recipe, start, run_once, tmp_path):
    process = start(tmp_path / "run", "--set", "target.per_class=200", "--set", "target.max_attempts=4000")
    wait_for_blocks(process, tmp_path / "run", 1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "run the same command again to carry on" in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    run(recipe, tmp_path / "run")
    assert fingerprint(tmp_path / "run" / "data") == fingerprint(run_once / "data")


def test_full_disk_is_one_line_and_leaves_nothing_half_written(python, recipe, recipe_file, run_once, tmp_path):
    out = tmp_path / "run"
    done = python.run("-c", LIMITED.format(limit=9000), "run", recipe_file, "--out", out)
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("terrasynth: error: disk full while writing")
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.tmp"))
    assert not list(out.rglob("*.parquet"))
    run(recipe, out)
    assert fingerprint(out / "data") == fingerprint(run_once / "data")


def test_too_small_disk_is_noticed_before_the_first_picture(tree, tmp_path):
    from terrasynth.synthesis.core.errors import RunError

    tree["target"] = {"per_class": 10**9, "max_attempts": 10**9}
    with pytest.raises(RunError, match=r"disk full: 3000000000 images .* need at least"):
        run(Recipe.parse(tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_disk_that_holds_the_pictures_once_is_too_small(tree, tmp_path, monkeypatch):
    """An accepted picture is stored in its block and in its shard."""
    from terrasynth.synthesis.core.errors import RunError
    from terrasynth.synthesis.execution.job import Job

    tree["filters"] = []
    recipe = Recipe.parse(tree)
    once = 15 * Job(recipe, tmp_path / "run").attempt_bytes()
    monkeypatch.setattr(terrasynth.synthesis.execution.job, "free_bytes", lambda place: int(1.5 * once))
    with pytest.raises(RunError, match="disk full: 15 images"):
        run(recipe, tmp_path / "run")
    monkeypatch.setattr(terrasynth.synthesis.execution.job, "free_bytes", lambda place: int(2.5 * once))
    assert run(recipe, tmp_path / "run").accepted == 15
