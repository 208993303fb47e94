"""A line that is no order ends the process that waits for orders, with one line, though its pipe stays open."""

import subprocess
import sys

import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.orders import Order


@pytest.mark.parametrize(("line", "why"), [
    ("no order", "JSONDecodeError: "), ("[]", "TypeError: "), ("{}", "KeyError: 'places'"),
    ('{"places": {"models": null, "data": null, "endpoints": []}, "runs": "r"}', "TypeError: .* missing 5 required"),
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
