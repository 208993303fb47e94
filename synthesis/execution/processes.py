"""The executor of several processes on this machine: one maker of blocks each, on one GPU each where there are several.

A process that dies, or takes longer than `runtime.block_timeout`, costs the block that it was making: another process
takes its place, and the block is made again, by whichever is free first. Nothing that it had written is lost.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.files import remove_leftovers
from terrasynth.synthesis.core.machine import Machine
from terrasynth.synthesis.events import BlockFailed, WorkerLost, WorkerReady
from terrasynth.synthesis.execution.base import BlockFailedError, BlockOrder, Executor, ExecutorSetup, MadeBlock
from terrasynth.synthesis.execution.worker_process import LostWorkerError, WorkerProcess
from terrasynth.synthesis.ledger.stored import StoredBlock

if TYPE_CHECKING:
    from terrasynth.synthesis.generators.runtime import Runtime
    from terrasynth.synthesis.recipe import RuntimeSettings

TRIES = 3  # of a block, and of a start
START_TIMEOUT = 900.0  # seconds that a process has to load libraries and encoders
ORDERS_A_WORKER = 2  # so that none waits for the run to decide what comes next


class _NoWorkerError(RunError):
    """A worker cannot be had."""


@dataclass
class _Task:
    order: BlockOrder
    draws: bool
    message: dict[str, Any]
    made: Future[MadeBlock] = field(default_factory=Future)
    reasons: list[str] = field(default_factory=list)


class ProcessesExecutor(Executor):
    """Makes blocks in several processes.

    Attributes:
        depth: Orders that may be unfinished while the next one is begun.
    """

    ahead = True

    def __init__(self, setup: ExecutorSetup) -> None:
        """Prepare; processes are started when there is something for them to do.

        Args:
            setup: Where and of what blocks are made.
        """
        self._setup, self._maker = setup, setup.maker
        self._timeout = setup.maker.recipe.runtime.block_timeout
        self._count = worker_count(setup.maker.recipe.runtime, setup.maker.runtime)
        self.depth = ORDERS_A_WORKER * self._count - 1
        self._tasks = _Tasks()
        self._recording = Lock()
        self._aborted = self._lost = False
        self._left = self._count
        self._processes: dict[int, WorkerProcess] = {}
        self._threads = [Thread(target=self._work, args=(number,), daemon=True) for number in range(self._count)]

    @override
    def __enter__(self) -> Self:
        self._maker.release_generator()
        for thread in self._threads:
            thread.start()
        return self

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._tasks.close()
        try:
            if error is None:
                self._join()
        finally:  # also where the wait is interrupted
            self._aborted = True
            for process in list(self._processes.values()):
                process.kill()
            self._join()
            if self._lost:  # in the middle of a file, perhaps
                remove_leftovers(self._setup.root)

    @override
    def submit(self, order: BlockOrder) -> Future[MadeBlock]:
        blocks = self._maker.blocks
        exists = blocks.exists(order.label, order.index)
        if exists:
            known = StoredBlock(blocks, order.label, order.index)
            blocks.read(order.label, order.index, ["id"])
            encoders = self._maker.encoders
            if order.closed or all(encoders.known(known, key) is not None for key in encoders.keys):
                return _finished(MadeBlock(known, 0, 0.0))
        else:
            with self._recording:
                self._maker.begin_drawing()
        task = _Task(order, not exists, self._message(order, not exists))
        self._tasks.put(task)
        return task.made

    def _message(self, order: BlockOrder, draws: bool) -> dict[str, Any]:
        prompts = None
        if draws and self._setup.prompts is not None:
            size = self._maker.blocks.block_size
            written = self._setup.prompts(order.label, order.index * size, size)
            prompts = [[each.text, list(each.captions), each.source, each.scene, each.layout, each.edit,
                        each.text_after] for each in written]
        return {"label": order.label, "index": order.index, "prompts": prompts}

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        """What one thread does: it keeps one process and gives it one task after another."""
        machine: Machine | None = None
        while (task := self._tasks.take()) is not None:
            try:
                if number not in self._processes:
                    machine = self._start(number)
                self._give(number, task, machine)
            except _NoWorkerError as error:
                self._leave(task, error)
                return
            except LostWorkerError as lost:
                self._lost = True
                self._end(number)
                self._again(number, task, str(lost))
            except BaseException as error:  # whatever it is, the run has to hear of it
                task.made.set_exception(error)
        self._end(number)

    def _give(self, number: int, task: _Task, machine: Machine | None) -> None:
        if task.draws and machine is not None:
            with self._recording:
                self._maker.admit(machine)
        made = self._processes[number].make(task.message, self._timeout, self._setup.tell)
        if made["portions"] is not None and not self._maker.runtime.exact:
            with self._recording:
                micro_batch, sliced = made["portions"]
                runtime = self._maker.runtime
                self._maker.note_portions(min(micro_batch, runtime.micro_batch), sliced or runtime.vae_slicing)
        blocks = self._maker.blocks
        stored = StoredBlock(blocks.ahead() if task.draws else blocks, task.order.label, task.order.index)
        task.made.set_result(MadeBlock(stored, made["drawn"], made["seconds"], number))

    def _start(self, number: int) -> Machine:
        """Start a process, again where it dies while it loads.

        Raises:
            InputError: A model or the expander is not what the run was begun with.
            RunError: It died several times, or the system starts no further process (`_NoWorkerError`); or a record
                of the run cannot be believed.
        """
        reasons: list[str] = []
        while len(reasons) < TRIES:
            try:
                given = environment(self._maker.runtime, number, self._count)
                process = WorkerProcess(number, self._setup.root, given)
            except OSError as error:
                raise _NoWorkerError(f"worker {number} cannot be started ({error.strerror}); close other programs, or "
                                     "lower runtime.workers") from error
            self._processes[number] = process
            if self._aborted:  # after the others were ended
                process.kill()
            try:
                machine = process.ready(START_TIMEOUT)
            except LostWorkerError as lost:
                reasons.append(str(lost))
                self._end(number)
                self._lost = True
                self._setup.tell(WorkerLost(number, reasons[-1], None, len(reasons) == TRIES))
                if self._tasks.closed:
                    break
            except (InputError, RunError):
                self._end(number)
                raise
            else:
                self._setup.tell(WorkerReady(number, self._count, process.id, self._maker.runtime.device))
                return machine
        raise _NoWorkerError(f"worker {number} ended {len(reasons)} times while it loaded ({reasons[-1]}); lower "
                             "runtime.workers where memory is short, or set runtime.executor to local, which says more")

    def _leave(self, task: _Task, error: RunError) -> None:
        """Go on with one worker less; without any, the run ends."""
        with self._recording:
            self._left -= 1
            last = not self._left
        if not last and not self._tasks.closed:
            self._tasks.put_first(task)
            return
        task.made.set_exception(error)
        self._tasks.close(error)

    def _again(self, number: int, task: _Task, reason: str) -> None:
        if self._tasks.closed:
            task.made.set_exception(RunError("the run has ended"))
            return
        task.reasons.append(reason)
        label, index = task.order.label, task.order.index
        again = len(task.reasons) < TRIES
        self._setup.tell(WorkerLost(number, reason, (label, index), again=again))
        if again:
            self._tasks.put_first(task)
        else:
            task.made.set_exception(BlockFailedError(BlockFailed(label, index, tuple(task.reasons))))

    def _end(self, number: int) -> None:
        process = self._processes.pop(number, None)
        if process is not None:
            process.end()


class _Tasks:
    """What is to be made, for threads that take it."""

    def __init__(self) -> None:
        self.closed = False
        self._error: RunError | None = None
        self._waiting: deque[_Task] = deque()
        self._changed = Condition()

    def put(self, task: _Task) -> None:
        """Let a task be made after the others."""
        with self._changed:
            self._waiting.append(task)
            self._changed.notify()
            self._refuse_all()

    def put_first(self, task: _Task) -> None:
        """Let a task be made next."""
        with self._changed:
            self._waiting.appendleft(task)
            self._changed.notify()
            self._refuse_all()

    def take(self) -> _Task | None:
        """The next task that nobody has taken back; None where there will be no more."""
        with self._changed:
            while True:
                while self._waiting:
                    task = self._waiting.popleft()
                    if task.made.running() or task.made.set_running_or_notify_cancel():
                        return task
                if self.closed:
                    return None
                self._changed.wait()

    def close(self, error: RunError | None = None) -> None:
        """Let nothing more be taken.

        Args:
            error: Why nothing can be made any more, which is said of whatever waits now or is put here later; None
                where the run has ended, and nobody asks for what waits.
        """
        with self._changed:
            self.closed, self._error = True, self._error or error
            self._refuse_all()
            self._changed.notify_all()

    def _refuse_all(self) -> None:
        """End what waits, once nothing more is taken."""
        while self.closed and self._waiting:
            made = self._waiting.popleft().made
            if self._error is None and made.cancel():
                continue
            if made.running() or made.set_running_or_notify_cancel():
                made.set_exception(self._error or RunError("the run has ended"))


def worker_count(settings: RuntimeSettings, runtime: Runtime) -> int:
    """How many processes: as many as the recipe says, else one a GPU, or one a core on a CPU.

    Args:
        runtime: As it was resolved. Where several threads compute one image, they share the cores.
    """
    if settings.workers != "auto":
        return settings.workers
    if runtime.on_cpu:
        return max(1, _cores() // runtime.threads)
    return max(1, len(_visible_gpus(runtime)))


def environment(runtime: Runtime, number: int, count: int) -> dict[str, str]:
    """Variables by which a process takes its share of threads and GPUs.

    Args:
        runtime: As it was resolved.
        number: Of the process, from 0.
        count: How many processes there are.
    """
    found = {}
    if "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, _cores() // count))
    devices = _visible_gpus(runtime)
    if len(devices) > 1:  # its only one then has the name that the record has
        found["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return found


def _visible_gpus(runtime: Runtime) -> list[str]:
    """The GPUs that processes may share out among each other; none where the recipe names one."""
    if runtime.device != "cuda":
        return []
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(made: MadeBlock) -> Future[MadeBlock]:
    now: Future[MadeBlock] = Future()
    now.set_result(made)
    return now
