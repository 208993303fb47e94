"""One process that makes blocks, as the process sees it that gives the orders; the other side is `worker.py`."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from typing_extensions import override

from terrasynth.errors import shortened
from terrasynth.synthesis.core.machine import Machine
from terrasynth.synthesis.core.terminal import on_one_line
from terrasynth.synthesis.events import Drawing
from terrasynth.synthesis.execution.pool import SHOWN, LostWorkerError, Worker, error_of

ENDING = 5.0  # seconds that a process has to end by itself before it is ended
log = logging.getLogger("terrasynth")


class WorkerProcess(Worker):
    """A process that makes blocks.

    Attributes:
        number: Its number, from 0.
    """

    def __init__(self, number: int, root: Path, environment: Mapping[str, str]) -> None:
        """Start it.

        Args:
            number: Its number, from 0.
            environment: Variables beside those of this process.

        Raises:
            OSError: The system starts no further process.
        """
        self.number = number
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._connection, theirs = Pipe()
        # The modules that this process finds are found there, too; -P leaves out the folder that it is started in.
        paths = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-P", "-m", "terrasynth.synthesis.execution.worker", str(theirs.fileno()), str(root)]
        with theirs:
            # A process group of its own: an interrupt at the terminal is for the process that decides.
            self._process = subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": paths, **environment}, pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors, process_group=0,
            )

    @property
    @override
    def id(self) -> int:
        return self._process.pid

    @override
    def ready(self, timeout: float) -> Machine:
        return Machine(**self._receive(timeout, "to load")["ready"])

    @override
    def make(self, order: Mapping[str, Any], timeout: float,
             on_drawing: Callable[[Drawing], None] = lambda drawing: None) -> Mapping[str, Any]:
        try:
            self._connection.send_bytes(json.dumps(order).encode())
        except OSError as error:
            raise LostWorkerError(self._death()) from error
        made: Mapping[str, Any] = self._receive(timeout, "for its block (runtime.block_timeout)", on_drawing)["made"]
        return made

    @override
    def end(self) -> None:
        self._connection.close()  # by which it sees that there is no more to do
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    @override
    def kill(self) -> None:
        self._process.kill()

    def _receive(self, timeout: float, doing: str,
                 on_drawing: Callable[[Drawing], None] = lambda drawing: None) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while True:
            try:
                if not self._connection.poll(max(0.0, deadline - time.monotonic())):
                    self._process.kill()
                    raise LostWorkerError(f"it took longer than {timeout:g} s {doing} and was ended")
                message: dict[str, Any] = json.loads(self._connection.recv_bytes())
            except (EOFError, OSError) as error:
                raise LostWorkerError(self._death()) from error
            if "log" in message:
                level, text = message["log"]
                log.log(level, "worker %d: %s", self.number, text)
            elif "drawing" in message:
                on_drawing(Drawing(**message["drawing"] | {"worker": self.number}))
            elif "failed" in message:
                raise error_of(**message["failed"])
            else:
                return message

    def _death(self) -> str:
        """How it ended, with what it said last."""
        code = self._process.wait()
        how = f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {shortened(on_one_line(lines[-1]), SHOWN)}" if lines else how
