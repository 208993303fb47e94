"""When the process of a job has to stop: a signal, a supervisor that is gone, a lease that is lost."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.orders import Order
from terrasynth.synthesis.service.records import Lease
from terrasynth.synthesis.service.store import JobStore


class Stopped(BaseException):
    """Cuts the work off where it cannot be asked; no error, so that whoever catches errors on the way lets it pass."""


class Stops:
    """Hears what asks for a stop, and reads orders from the supervisor's pipe.

    The pipe ends when the supervisor does, however that happens: nobody else holds its other end.

    Attributes:
        reason: Why it has to stop; "" while it has not.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._cut = False  # whether a stop may come in the midst of the work
        # The one kind of queue that a signal may put into.
        self._orders: queue.SimpleQueue[Order | InputError | None] = queue.SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signaled)
        threading.Thread(target=self._read, daemon=True).start()

    def asked(self) -> bool:
        """Whether the work has to stop."""
        return bool(self.reason)

    def orders(self) -> Iterator[Order]:
        """Orders as they come, until the pipe ends or a stop is asked for.

        Raises:
            InputError: A line of the pipe is no order; nothing behind it is read.
        """
        while not self.asked() and (order := self._orders.get()) is not None:
            if isinstance(order, InputError):
                raise order
            yield order

    @contextmanager
    def cutting(self) -> Iterator[None]:
        """Work that may be cut off anywhere.

        Raises:
            Stopped: A stop is asked for.
        """
        self._cut = True
        try:
            if self.asked():
                raise Stopped
            yield
        finally:
            self._cut = False

    @contextmanager
    def holding(self, store: JobStore, lease: Lease, seconds: float) -> Iterator[None]:
        """Renew a lease while the work goes on; ask for a stop when it is lost."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(seconds / 3):
                try:
                    held = store.renew(lease, seconds)
                except Exception as error:  # the supervisor renews, too: what matters is whether the lease is lost
                    print(f"note: the lease was not renewed: {error}", file=sys.stderr, flush=True)
                    continue
                if not held:
                    self.ask("its lease is lost")
                    break

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def ask(self, reason: str) -> None:
        """Ask for a stop from any thread; what is cut off is cut off in the main one."""
        self.reason = self.reason or reason
        os.kill(os.getpid(), signal.SIGTERM)

    def _signaled(self, number: int, _: FrameType | None) -> None:
        self.reason = self.reason or "its worker ends"
        self._orders.put(None)
        if self._cut:
            self._cut = False
            raise Stopped

    def _read(self) -> None:
        # Without the lock of `sys.stdin`, on which an interpreter that ends meanwhile would abort.
        rest = b""
        while portion := os.read(0, 1 << 16):
            *lines, rest = (rest + portion).split(b"\n")
            for line in lines:
                try:
                    self._orders.put(Order.read(line.decode(errors="replace")))
                except InputError as error:  # for the thread that does the work, which would wait for ever
                    self._orders.put(error)
                    return
        self._orders.put(None)
        self.ask("its supervisor is gone")
