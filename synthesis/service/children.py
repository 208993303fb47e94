"""A process that does jobs, as its supervisor sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from terrasynth.synthesis.service.orders import Order

COMMAND = (sys.executable, "-P", "-m", "terrasynth", "work")  # -P: nothing is imported from the current folder
TAIL_BYTES = 16 * 2**10
NOT_ITS_FAULT = 75  # exit code (EX_TEMPFAIL): a job that it still has is not to blame, and may go on elsewhere


class Child:
    """A process in a group of its own, which hears of its supervisor's end by the end of its standard input.

    Args:
        log: Where it prints until it has an order.
    """

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with log.open("ab") as file:
            self._process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=file, stderr=file, text=True,
                                             start_new_session=True)
        self._stopped: float | None = None
        self._dismissed = False

    @property
    def number(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopped is not None

    @property
    def available(self) -> bool:
        """Whether it takes a further order."""
        return not self._dismissed and self._stopped is None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it lives."""
        return self._process.poll()

    def send(self, order: Order) -> None:
        """Give it an order; nothing happens where it has ended meanwhile."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(order.line() + "\n")
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """Let it end when it has done its order."""
        assert self._process.stdin is not None
        self._dismissed = True
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def stop(self, grace: float) -> None:
        """Ask it to stop between blocks, and end it where it has not done so in `grace` seconds from the first time."""
        now = time.monotonic()
        if self._stopped is None:
            self._stopped = now
            self._process.terminate()
        elif now - self._stopped > grace:
            self.kill()

    def kill(self) -> None:
        """End it, and what it has started, at once."""
        self._stopped = self._stopped or time.monotonic()
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def ending_of(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {-code}, {signal.Signals(-code).name}"
    return f"signal {-code}"


def tail_of(log: Path) -> str:
    """The end of a log; "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
