"""A line that is no order ends the process that waits for orders, with one line, though its pipe stays open."""

import subprocess
import sys
import time

import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.children import NOT_ITS_FAULT
from terrasynth.synthesis.service.orders import Order
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.specs import LONG, parse_spec
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.store import JobStore


@pytest.mark.parametrize(("line", "why"), [
    ("no order", "JSONDecodeError: "), ("[]", "TypeError: "), ("{}", "KeyError: 'places'"),
    ('{"places": {"models": null, "data": null, "endpoints": []}, "runs": "r"}', "TypeError: .* missing 6 required"),
])
def test_what_is_no_order_is_told(line, why):
    with pytest.raises(InputError, match=rf"a line of standard input is no order \({why}.*`terrasynth worker` starts"):
        Order.read(line)


def test_a_process_ends_at_a_line_that_is_no_order():
    command = [sys.executable, "-m", "terrasynth.synthesis.cli", "work"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"no order\n")
        process.stdin.flush()
        assert process.wait(timeout=300) == 2  # the pipe is open all the while
        assert process.stderr.read().decode().splitlines()[-1].startswith(
            "terrasynth: error: a line of standard input is no order (JSONDecodeError: ")


@pytest.mark.parametrize("last", [True, False])
def test_a_process_ends_after_its_last_order_and_waits_after_any_other(tmp_path, last):
    store = JobStore(tmp_path / "jobs.sqlite")
    job, _ = store.create(parse_spec({"kind": "run", "data_set": "not-there"}))
    lease = store.lease("a worker", 60, LONG)
    store.begin(lease)
    order = Order(job.id, lease.token, store.address, 60, 3, tmp_path, Places(), last)
    with subprocess.Popen([sys.executable, "-m", "terrasynth", "work"], stdin=subprocess.PIPE) as process:
        process.stdin.write(f"{order.line()}\n".encode())
        process.stdin.flush()
        while store.get(job.id).state is not State.FAILED:
            assert process.poll() is None or last
            time.sleep(0.05)
        if last:
            assert process.wait(timeout=300) == NOT_ITS_FAULT  # the pipe is open all the while
        else:
            time.sleep(0.5)
            assert process.poll() is None
