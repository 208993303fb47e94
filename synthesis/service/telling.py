"""What a run tells, as events of its job: every block once, however often the job was begun."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from terrasynth.synthesis.core.progress import Progress
from terrasynth.synthesis.events import (
    BlockDone,
    BlockFailed,
    ClassCount,
    ClassDone,
    Event,
    Finished,
    Planned,
    WorkerLost,
    Writing,
)
from terrasynth.synthesis.service.leases import Told
from terrasynth.synthesis.service.records import Lease
from terrasynth.synthesis.service.store import JobStore

PORTION = 200  # events of blocks that were there already, told at once
PAGE = 1000
PROGRESS_SECONDS = 1.0  # a job of thousands of classes has a long progress


class Teller:
    """Listens to a run, and tells the store."""

    def __init__(self, store: JobStore, lease: Lease) -> None:
        self._store, self._lease = store, lease
        self._print = Progress()
        self._known = _told_before(store, lease.job.id)
        self._counts: dict[str, ClassCount] = {}
        self._workers: set[int | None] = set()
        self._waiting: list[Told] = []
        self._drawn, self._seconds, self._part = 0, 0.0, ""
        self._shown = float("-inf")

    def __call__(self, event: Event) -> None:
        """Tell an event.

        Raises:
            LeaseLostError: The lease is lost.
        """
        self._print(event)
        match event:
            case Planned(identity=identity, counts=counts, max_attempts=most, resumed=resumed, notes=notes):
                self._counts = {count.label: count for count in counts}
                said = {"identity": identity, "classes": [count.label for count in counts], "resumed": resumed,
                        "targets": [count.target for count in counts], "max_attempts": most, "notes": list(notes)}
                self._tell(("planned", said))
            case BlockDone(count=count, index=index, drawn=drawn, seconds=seconds, verdicts=verdicts, worker=worker):
                self._counts[count.label] = count
                self._workers.add(worker)
                self._drawn += drawn
                self._seconds += seconds / len(self._workers) if drawn else 0.0  # workers draw side by side
                if (count.label, index) not in self._known:
                    self._block({**asdict(count), "index": index, "drawn": drawn, "seconds": round(seconds, 4),
                                 "verdicts": list(verdicts)})
            case ClassDone(count=count):
                self._counts[count.label] = count
                if (count.label, None) not in self._known:
                    self._tell(("class_done", asdict(count)))
            case WorkerLost() | BlockFailed():
                self._tell(("worker_lost" if isinstance(event, WorkerLost) else "block_failed", asdict(event)))
            case Writing(part=part):
                self._part = part
                self._tell(("writing", {"part": part}))
            case Finished():
                self._tell()

    def _block(self, said: dict[str, Any]) -> None:
        self._waiting.append(("block", said))
        if said["drawn"] or len(self._waiting) >= PORTION:
            self._tell(made=bool(said["drawn"]))

    def _tell(self, *more: Told, made: bool = False) -> None:
        told, self._waiting = [*self._waiting, *more], []
        now = time.monotonic()
        shown = bool(more) or not told or now - self._shown >= PROGRESS_SECONDS
        if shown:
            self._shown = now
        self._store.append_all(self._lease, told, progress=self._progress() if shown else None, made=made)

    def _progress(self) -> dict[str, Any]:
        counts = list(self._counts.values())
        return {
            "classes": [asdict(count) for count in counts],
            "attempted": sum(count.attempted for count in counts),
            "accepted": sum(count.accepted for count in counts),
            "target": sum(count.target for count in counts),
            "drawn": self._drawn, "seconds": round(self._seconds, 3), "part": self._part,
        }


def _told_before(store: JobStore, job: str) -> set[tuple[str, int | None]]:
    """Blocks, and classes that are done, of which the job's earlier attempts have told."""
    found, last = set[tuple[str, int | None]](), 0
    while events := store.events(job, after=last, limit=PAGE):
        for event in events:
            if event.type in ("block", "class_done"):
                found.add((event.data["label"], event.data.get("index")))
        last = events[-1].number
    return found
