"""An actor of Ray that makes blocks, and the worker that stands for it in the process that gives the orders."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from terrasynth.errors import UserError, shortened
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.machine import Machine, this_machine
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.core.terminal import on_one_line
from terrasynth.synthesis.events import Drawing
from terrasynth.synthesis.execution.pool import SHOWN, LostWorkerError, Worker, error_of
from terrasynth.synthesis.execution.worker import answer, described, open_maker

if TYPE_CHECKING:
    from ray import ObjectRef

    from terrasynth.synthesis.execution.block_maker import BlockMaker

LOOK = 1.0  # seconds between two looks at how far a block is
log = logging.getLogger("terrasynth")


class _Notes(logging.Handler):
    """Keeps what is logged until somebody asks."""

    def __init__(self, said: SimpleQueue[dict[str, Any]]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._said.put({"log": [record.levelno, record.getMessage()]})


class BlockActor:
    """Makes blocks of one run; `said` answers beside `make`, so it needs two threads (`max_concurrency=2`)."""

    def __init__(self, root: str) -> None:
        """Args: the run directory, which has to be there on this machine, too."""
        self._root = place(root)
        self._said: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._maker: BlockMaker | None = None
        log.addHandler(_Notes(self._said))
        log.propagate = False

    def ready(self) -> dict[str, Any]:
        """Load what blocks are measured with; gives `ready`, a machine, and the `process` id, or `failed`."""
        try:
            self._maker = open_maker(self._root)
        except (UserError, RunError) as error:
            return {"failed": described(error)}
        return {"ready": vars(this_machine(self._maker.runtime.device)), "process": os.getpid()}

    def make(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make a block; gives `made` or `failed`, as a worker process does."""
        if self._maker is None:
            raise RuntimeError("ready was not called")
        return answer(self._maker, order, lambda drawing: self._said.put({"drawing": vars(drawing)}))

    def said(self) -> list[dict[str, Any]]:
        """What was logged, and how far a block is, since the last call."""
        found = []
        while True:
            try:
                found.append(self._said.get_nowait())
            except Empty:
                return found


class RayWorker(Worker):
    """An actor somewhere in a cluster.

    Attributes:
        number: Its number, from 0.
    """

    def __init__(self, number: int, root: Path, options: Mapping[str, Any], check: Callable[[], None]) -> None:
        """Ask the cluster for it.

        Args:
            number: Its number, from 0.
            root: The run directory.
            options: Of the actor: CPUs, GPUs, variables of its process.
            check: Is called while an answer is waited for, and raises where none can come.
        """
        import ray

        self.number = number
        self._ray, self._check, self._process = ray, check, 0
        kind: Any = ray.remote(BlockActor)  # whose methods have a method `remote`, as no type says
        self._actor = kind.options(max_concurrency=2, max_restarts=0, max_task_retries=0, **options).remote(
            str(root.absolute()))
        self._asked: Any = None

    @property
    @override
    def id(self) -> int:
        return self._process

    @override
    def ready(self, timeout: float) -> Machine:
        message = self._receive(self._actor.ready.remote(), timeout, "to be found a place in the cluster and to load")
        self._process = message["process"]
        return Machine(**message["ready"])

    @override
    def make(self, order: Mapping[str, Any], timeout: float,
             on_drawing: Callable[[Drawing], None] = lambda drawing: None) -> Mapping[str, Any]:
        answered = self._receive(self._actor.make.remote(dict(order)), timeout,
                                 "for its block (runtime.block_timeout)", on_drawing)
        made: Mapping[str, Any] = answered["made"]
        return made

    @override
    def end(self) -> None:
        self.kill()

    @override
    def kill(self) -> None:
        self._ray.kill(self._actor)

    def _receive(self, reference: ObjectRef[Any], timeout: float, doing: str,
                 on_drawing: Callable[[Drawing], None] = lambda drawing: None) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        try:
            while not self._ray.wait([reference], timeout=max(0.0, min(LOOK, deadline - time.monotonic())))[0]:
                if time.monotonic() >= deadline:
                    self.kill()
                    raise LostWorkerError(f"it took longer than {timeout:g} s {doing} and was ended")
                self._check()
                self._pass_on(on_drawing)
            message: dict[str, Any] = self._ray.get(reference)
            self._pass_on(on_drawing)
        except self._ray.exceptions.RayError as error:
            raise LostWorkerError(f"its actor is lost: {shortened(on_one_line(str(error)), SHOWN)}") from error
        if "failed" in message:
            raise error_of(**message["failed"])
        return message

    def _pass_on(self, on_drawing: Callable[[Drawing], None]) -> None:
        """Log what the actor logged and tell how far it is, once it has answered what it was last asked."""
        if self._asked is None:
            self._asked = self._actor.said.remote()
        if not self._ray.wait([self._asked], timeout=0)[0]:
            return
        said, self._asked = self._ray.get(self._asked), None
        for message in said:
            if "log" in message:
                level, text = message["log"]
                log.log(level, "worker %d: %s", self.number, text)
            else:
                on_drawing(Drawing(**message["drawing"] | {"worker": self.number}))
