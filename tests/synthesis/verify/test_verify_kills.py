"""A few of the kills that `tests/benchmarks/kill_everything.py` deals out by the hundred."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_killed_run_export_and_push_lose_and_double_nothing():
    command = [sys.executable, "tests/benchmarks/kill_everything.py", "--kills", "9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "9 kills, seed 0: nothing lost, doubled or different"
