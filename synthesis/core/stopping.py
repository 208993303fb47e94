"""The first interrupt asks for an end in good order; the second ends the process as usual."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signal(said: str) -> Iterator[Callable[[], bool]]:
    """Hear SIGINT and SIGTERM while the body runs, and tell it whether one came.

    Outside the main thread, where no handler can be set, nothing is heard.

    Args:
        said: What is printed at the first signal, on one line: what is still done, and how to do without.

    Yields:
        Whether an end was asked for.

    Example:
        >>> import os, signal
        >>> from terrasynth.synthesis.core.stopping import stop_on_signal
        >>> with stop_on_signal("ending after this step") as should_stop:
        ...     os.kill(os.getpid(), signal.SIGTERM)
        ...     should_stop()
        True
    """
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        ignored = before[number] == signal.SIG_IGN  # as a shell lets its background jobs begin
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual if ignored else before[number])
        print(f"\n{said}", file=sys.stderr)

    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    before = {int(number): signal.getsignal(number) for number in numbers}
    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
