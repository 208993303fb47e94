"""What goes wrong with requests to the stand-in for the Hub, and which ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        status: Answer with this status and do nothing.
        headers: Of that answer.
        cut: Read this share of the body, then close the connection; 0 before reading anything.
        silent: Do the work, then close the connection without an answer.
        delay: Seconds to wait first.
        kill: A process to kill once half of the body was read.
        body: Do the work, then answer 200 with this, as something between may: a proxy, a log-in page.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: float | None = None
    silent: bool = False
    delay: float = 0
    kill: int = 0
    body: bytes | None = None


Faults = Callable[[int, str, str], Fault | None]
COMMON = (Fault(500), Fault(503), Fault(429, {"Retry-After": "0"}), Fault(cut=0), Fault(cut=0.5), Fault(silent=True))


def random_faults(seed: int, share: float, kinds: Sequence[Fault] = COMMON) -> Faults:
    """Let a share of the requests fail, the same ones for the same seed and order of requests."""
    draw = random.Random(seed)
    return lambda number, method, path: draw.choice(kinds) if draw.random() < share else None


def fault_at(wanted: int | str, fault: Fault, times: int = 1) -> Faults:
    """Let one request fail: that of this number, or the first `times` whose "METHOD path" matches a pattern."""
    seen: list[int] = []

    def decide(number: int, method: str, path: str) -> Fault | None:
        hit = number == wanted if isinstance(wanted, int) else bool(re.search(wanted, f"{method} {path}"))
        if not hit or len(seen) >= times:
            return None
        seen.append(number)
        return fault

    return decide
