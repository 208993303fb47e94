"""A process that makes blocks of a run for the process that holds it.

    python -m terrasynth.synthesis.execution.worker HANDLE RUN

`HANDLE` is one end of a socket. Orders and answers are JSON, one a message. It gets class and number of a block, and
the rest from the run directory. What it draws goes to `RUN/ahead/`, since whether a block is needed is decided
elsewhere, and later. It ends when the other end is closed, which the system does too when the other process dies.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from terrasynth.errors import UserError, one_line
from terrasynth.synthesis.core.collector import look_seldom
from terrasynth.synthesis.core.errors import RefusedError, RunError
from terrasynth.synthesis.core.storage.object_path import place

if TYPE_CHECKING:
    from terrasynth.prompts import Prompt
    from terrasynth.synthesis.events import Drawing
    from terrasynth.synthesis.execution.block_maker import BlockMaker

DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl(2)
log = logging.getLogger("terrasynth")


class _Channel(logging.Handler):
    """Sends messages, and what is logged, to the process that gives the orders; from any thread."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.WARNING)
        self._connection, self._lock = connection, threading.Lock()

    def send(self, **message: object) -> None:
        """Send one message."""
        with self._lock:
            self._connection.send_bytes(json.dumps(message).encode())

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Send what was logged."""
        self.send(log=[record.levelno, record.getMessage()])


def main() -> None:
    """Make blocks until the other end is closed."""
    look_seldom()
    handle, root = int(sys.argv[1]), place(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whether an interrupt ends a block is decided by who gave the order
    _end_with_parent()
    connection = Connection(handle)
    channel, orders = _Channel(connection), SimpleQueue[dict[str, Any]]()
    log.addHandler(channel)
    log.propagate = False
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    try:
        maker = _opened(root, channel)
        while True:
            _answer(maker, orders.get(), channel)
    except BrokenPipeError:  # the process that gives the orders has just died
        os._exit(1)
    except BaseException as error:
        traceback.print_exc()
        channel.send(failed=described(error))
        os._exit(1)  # threads of libraries, whose state nobody knows, are not waited for


def _opened(root: Path, channel: _Channel) -> BlockMaker:
    from terrasynth.synthesis.core.machine import this_machine

    maker = open_maker(root)
    channel.send(ready=vars(this_machine(maker.runtime.device)))
    return maker


def open_maker(root: Path) -> BlockMaker:
    """The maker of a run's blocks, whose files no other process names alike, on whatever machine that is."""
    from terrasynth.synthesis.execution.block_maker import BlockMaker

    return BlockMaker.open(root, f".{os.getpid()}-{secrets.token_hex(4)}")


def _answer(maker: BlockMaker, order: Mapping[str, Any], channel: _Channel) -> None:
    channel.send(**answer(maker, order, lambda drawing: channel.send(drawing=vars(drawing))))


def answer(maker: BlockMaker, order: Mapping[str, Any], on_drawing: Callable[[Drawing], None]) -> dict[str, Any]:
    """Make a block, and give the message that says so, or which error a user has to hear of.

    Args:
        order: `label`, `index`, and `prompts` where they travel with it.
        on_drawing: Is told of a slow block how far it is.
    """
    start, before = time.perf_counter(), (maker.runtime.micro_batch, maker.runtime.vae_slicing)
    try:
        label, written = order["label"], order["prompts"]
        prompts = None if written is None else [_prompt(label, *each) for each in written]
        drawn = maker.make_ahead(label, order["index"], prompts, on_drawing)
    except (UserError, RunError) as error:  # said to the user as it is; this process can go on
        return {"failed": described(error)}
    portions = (maker.runtime.micro_batch, maker.runtime.vae_slicing)
    return {"made": {"drawn": drawn, "seconds": time.perf_counter() - start,
                     "portions": list(portions) if drawn and portions != before else None}}


def _prompt(
    label: str, text: str, captions: list[str], source: str, scene: str, layout: str, edit: str = "",
    text_after: str = "",
) -> Prompt:
    from terrasynth.prompts import Prompt

    return Prompt(text, label, tuple(captions), source, scene, layout=layout, edit=edit, text_after=text_after)


def described(error: BaseException) -> dict[str, str]:
    """An error as it travels: `kind` and `message` of `pool.error_of`."""
    kinds = (("input", UserError), ("refused", RefusedError), ("run", RunError))
    kind = next((name for name, of in kinds if isinstance(error, of)), "unexpected")
    return {"kind": kind, "message": one_line(error) if kind != "unexpected" else f"{type(error).__name__}: "
            f"{one_line(error)}"}


def _listen(connection: Connection, orders: SimpleQueue[dict[str, Any]]) -> None:
    """Take orders, and end the process at once when nobody is there to give them; a block is whole or absent."""
    while True:
        try:
            orders.put(json.loads(connection.recv_bytes()))
        except (EOFError, OSError):
            os._exit(0)
        except ValueError as error:  # the thread that makes blocks would wait for ever
            print(f"an order is no JSON ({one_line(error, 100)})", file=sys.stderr, flush=True)
            os._exit(1)


def _end_with_parent() -> None:
    """Let the system end this process with its parent, also where it hangs or is stopped; Linux alone can."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)


if __name__ == "__main__":
    main()
