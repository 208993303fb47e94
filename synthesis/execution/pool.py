"""Executors that have several workers: what is the same wherever they are.

A worker that dies, or takes longer than `runtime.block_timeout`, costs the block that it was making: another takes its
place, and the block is made again, by whichever is free first. Nothing that it had written is lost.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import Any, Protocol, Self

from typing_extensions import override

from terrasynth.errors import shortened
from terrasynth.synthesis.core.errors import InputError, RefusedError, RunError
from terrasynth.synthesis.core.files import remove_leftovers
from terrasynth.synthesis.core.machine import Machine
from terrasynth.synthesis.core.terminal import on_one_line
from terrasynth.synthesis.events import BlockFailed, Drawing, WorkerLost, WorkerReady
from terrasynth.synthesis.execution.base import BlockFailedError, BlockOrder, Executor, ExecutorSetup, MadeBlock
from terrasynth.synthesis.ledger.stored import StoredBlock

TRIES = 3  # of a block, and of a start
START_TIMEOUT = 900.0  # seconds that a worker has to be found a place, and to load libraries and encoders
SHOWN = 160  # characters of what a worker said last
ORDERS_A_WORKER = 2  # so that none waits for the run to decide what comes next


class LostWorkerError(Exception):
    """A worker died, or hung and was ended; the message says how."""


class Worker(Protocol):
    """Makes blocks somewhere else, one at a time."""

    @property
    def id(self) -> int:
        """Process id, on its machine."""

    def ready(self, timeout: float) -> Machine:
        """Wait until it has loaded what it measures with; returns the machine that it draws on.

        Args:
            timeout: Seconds after which it is ended.

        Raises:
            InputError: A model or the expander is not what the run was begun with.
            RunError: A record of the run cannot be believed.
            LostWorkerError: It died or took too long.
        """

    def make(self, order: Mapping[str, Any], timeout: float,
             on_drawing: Callable[[Drawing], None] = lambda drawing: None) -> Mapping[str, Any]:
        """Have a block made.

        Args:
            order: `label`, `index`, and `prompts` where they travel with it.
            timeout: Seconds after which it is ended.
            on_drawing: Is told of a slow block how far it is.

        Returns:
            `drawn`, `seconds`, and the `portions` that it fell to, else None.

        Raises:
            InputError: See `BlockMaker.draw`.
            RunError: See `BlockMaker.draw`; or a file of the block is damaged.
            LostWorkerError: It died or took too long.
        """

    def end(self) -> None:
        """End it, where it has not ended; what it does is left undone."""

    def kill(self) -> None:
        """End it at once, from any thread; whoever waits for its answer learns that it is lost."""


class _NoWorkerError(RunError):
    """A worker cannot be had."""


@dataclass
class _Task:
    order: BlockOrder
    draws: bool
    message: dict[str, Any]
    made: Future[MadeBlock] = field(default_factory=Future)
    reasons: list[str] = field(default_factory=list)


class PoolExecutor(Executor):
    """Makes blocks by several workers; what kind they are, a subclass says.

    Attributes:
        depth: Orders that may be unfinished while the next one is begun.
    """

    ahead = True

    def __init__(self, setup: ExecutorSetup, count: int) -> None:
        """Prepare; workers are started when there is something for them to do.

        Args:
            setup: Where and of what blocks are made.
            count: How many workers there are to be.
        """
        self._setup, self._maker = setup, setup.maker
        self._timeout = setup.maker.recipe.runtime.block_timeout
        self._count = count
        self.depth = ORDERS_A_WORKER * self._count - 1
        self._tasks = _Tasks()
        self._recording = Lock()
        self._lost = False
        self._loading: set[int] = set()
        self._left = self._count
        self._workers: dict[int, Worker] = {}
        self._threads = [Thread(target=self._work, args=(number,), daemon=True) for number in range(self._count)]

    @abstractmethod
    def _open(self, number: int) -> Worker:
        """Start a worker.

        Args:
            number: Its number, from 0.

        Raises:
            OSError: The system starts no further process.
        """

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
                for number in list(self._loading):  # there is nothing left for it to do
                    if (loading := self._workers.get(number)) is not None:
                        loading.kill()
                self._join()
        finally:  # also where the wait is interrupted
            for worker in list(self._workers.values()):
                worker.kill()
            self._join()
            if self._lost:  # in the middle of a file, perhaps
                remove_leftovers(self._setup.root)

    @override
    def submit(self, order: BlockOrder) -> Future[MadeBlock]:
        blocks = self._maker.blocks
        exists = blocks.exists(order.label, order.index)
        if exists:
            known = StoredBlock.found(blocks, order.label, order.index)
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
        """What one thread does: it keeps one worker and gives it one task after another.

        A task is taken when there is a worker for it: one that waits for a place in a cluster holds nothing up.
        """
        machine: Machine | None = None
        while self._tasks.come():
            try:
                if number not in self._workers:
                    machine = self._start(number)
            except _NoWorkerError as error:
                self._leave(error)
                return
            except BaseException as error:  # whatever it is, the run has to hear of it
                if (task := self._tasks.take()) is not None:
                    task.made.set_exception(error)
                continue
            if (task := self._tasks.take()) is None:
                break
            try:
                self._give(number, task, machine)
            except LostWorkerError as lost:
                self._lost = True
                self._end(number)
                self._again(number, task, str(lost))
            except BaseException as error:  # as above
                task.made.set_exception(error)
        self._end(number)

    def _give(self, number: int, task: _Task, machine: Machine | None) -> None:
        if task.draws and machine is not None:
            with self._recording:
                self._maker.admit(machine)
        made = self._workers[number].make(task.message, self._timeout, self._setup.tell)
        if made["portions"] is not None and not self._maker.runtime.exact:
            with self._recording:
                micro_batch, sliced = made["portions"]
                runtime = self._maker.runtime
                self._maker.note_portions(min(micro_batch, runtime.micro_batch), sliced or runtime.vae_slicing)
        blocks = self._maker.blocks
        stored = StoredBlock(blocks.ahead() if task.draws else blocks, task.order.label, task.order.index)
        task.made.set_result(MadeBlock(stored, made["drawn"], made["seconds"], number))

    def _start(self, number: int) -> Machine:
        """Start a worker, again where it dies while it loads.

        Raises:
            InputError: A model or the expander is not what the run was begun with.
            RunError: It died several times, or the system starts no further process (`_NoWorkerError`); or a record
                of the run cannot be believed.
        """
        reasons: list[str] = []
        while len(reasons) < TRIES:
            try:
                worker = self._open(number)
            except OSError as error:
                raise _NoWorkerError(f"worker {number} cannot be started ({error.strerror}); close other programs, or "
                                     "lower runtime.workers") from error
            self._workers[number] = worker
            self._loading.add(number)
            if self._tasks.closed:  # after the others were ended
                worker.kill()
            try:
                machine = worker.ready(START_TIMEOUT)
            except LostWorkerError as lost:
                self._end(number)
                if self._tasks.closed:
                    raise _NoWorkerError("the run has ended") from lost
                reasons.append(str(lost))
                self._lost = True
                self._setup.tell(WorkerLost(number, reasons[-1], None, len(reasons) == TRIES))
            except (InputError, RunError):
                self._end(number)
                raise
            else:
                self._setup.tell(WorkerReady(number, self._count, worker.id, self._maker.runtime.device))
                return machine
            finally:
                self._loading.discard(number)
        raise _NoWorkerError(f"worker {number} ended {len(reasons)} times while it loaded ({reasons[-1]}); lower "
                             "runtime.workers where memory is short, or set runtime.executor to local, which says more")

    def _leave(self, error: RunError) -> None:
        """Go on with one worker less; without any, the run ends."""
        with self._recording:
            self._left -= 1
            last = not self._left
        if last:
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
        worker = self._workers.pop(number, None)
        if worker is not None:
            worker.end()


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
            self._changed.notify_all()
            self._refuse_all()

    def put_first(self, task: _Task) -> None:
        """Let a task be made next."""
        with self._changed:
            self._waiting.appendleft(task)
            self._changed.notify_all()
            self._refuse_all()

    def come(self) -> bool:
        """Wait until there is something to take, or False where there will be no more."""
        with self._changed:
            while not self._waiting and not self.closed:
                self._changed.wait()
            return bool(self._waiting)

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


def _finished(made: MadeBlock) -> Future[MadeBlock]:
    now: Future[MadeBlock] = Future()
    now.set_result(made)
    return now


def error_of(kind: str, message: str) -> Exception:
    """The error that a worker met, made anew here.

    Args:
        kind: "input", "refused" or "run"; anything else is an error that nobody foresaw, and the worker counts as lost.
        message: What it said.
    """
    errors = {"input": InputError, "refused": RefusedError, "run": RunError}
    return errors[kind](message) if kind in errors else LostWorkerError(
        f"it failed: {shortened(on_one_line(message), SHOWN)}")
