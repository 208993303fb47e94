"""A supervisor in a thread, and waiting for jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.states import ENDED
from terrasynth.synthesis.service.store import JobStore
from terrasynth.synthesis.service.supervisor import Supervisor, WorkSettings


def work_settings(runs: Path, models: Path | None = None, data: Path | None = None, **more: Any) -> WorkSettings:
    """Settings that ask nothing of the machine, which is busy with other tests."""
    return WorkSettings(runs, places=Places(models, data), spare_disk=0, spare_memory=0, **more)


@contextmanager
def supervised(settings: WorkSettings, store: JobStore) -> Iterator[threading.Event]:
    """A supervisor at work; setting the event ends it, as the end of the block does."""
    stop, kill = threading.Event(), threading.Event()
    thread = threading.Thread(target=Supervisor(settings, store).run, args=(stop, kill))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def wait_for(store: JobStore, job: str, ready: Any = lambda job: job.state in ENDED) -> Job:
    """Until a job is as it should be, or has ended; a test that waits in vain is ended by its runner."""
    while not ready(found := store.get(job)) and found.state not in ENDED:
        time.sleep(0.02)
    return store.get(job)


def wait_for_event(store: JobStore, job: str, type: str) -> None:
    """Until an event of a type was told, or the job has ended."""
    while all(event.type != type for event in store.events(job, limit=10_000)) and store.get(job).state not in ENDED:
        time.sleep(0.02)
