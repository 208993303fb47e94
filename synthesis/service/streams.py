"""Events of jobs as they come, for any number of listeners: one look at the store serves them all.

A listener costs a coroutine and a place in a list. One task asks the store for what is new, in one thread, as long as
somebody listens.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import sqlalchemy as sa

from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import StoredEvent, UnknownJobError
from terrasynth.synthesis.service.states import ENDED

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore

INTERVAL_SECONDS, HEARTBEAT_SECONDS, PAUSE_SECONDS = 0.25, 15.0, 2.0
log = logging.getLogger("terrasynth")
PAGE, RECENT = 500, 512


@dataclass
class _Watch:
    """A job that somebody listens to.

    Attributes:
        last: Number of the newest event that is known.
        over: Whether the job has ended, and all its events are known.
        listeners: How many there are.
        recent: The newest events.
        changed: Set, and replaced, when something is new.
    """

    last: int
    over: bool = False
    listeners: int = 0
    recent: deque[StoredEvent] = field(default_factory=lambda: deque(maxlen=RECENT))
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, events: Sequence[StoredEvent], over: bool) -> None:
        """Let listeners know."""
        self.recent.extend(events)
        self.last = events[-1].number if events else self.last
        self.over = over
        if events or over:
            self.changed.set()
            self.changed = asyncio.Event()


class Streams:
    """The open streams of a server.

    Args:
        most: Most listeners at once.
    """

    def __init__(self, store: JobStore, most: int) -> None:
        self._store, self._most = store, most
        self._watches: dict[str, _Watch] = {}
        self._poller: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        # Of its own: streams that catch up wait for each other, not for the threads that answer requests.
        self._limiter = anyio.CapacityLimiter(2)
        self.open = 0

    async def close(self) -> None:
        """End all streams; clients come back to whoever serves them next."""
        self._closed.set()
        for watch in self._watches.values():
            watch.changed.set()
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller

    def take_place(self) -> Callable[[], None]:
        """Take one of the places of open streams, until what is returned is called.

        Raises:
            Problem: All are taken.
        """
        if self.open >= self._most:
            raise Problem(429, "streams_full", f"{self._most} streams of events are open, and that is the most; close "
                          "one, or ask for /v1/jobs/{id} instead", {"Retry-After": "5", "Connection": "close"})
        self.open += 1

        def leave() -> None:
            self.open -= 1

        return leave

    async def follow(self, job: str, after: int) -> AsyncGenerator[Sequence[StoredEvent]]:
        """Events of a job in order, none left out; ends when the job has ended and all of them were given.

        Args:
            after: Number of the last event that is known already.

        Yields:
            What is new; nothing now and then, while nothing is.
        """
        watch = self._watches.setdefault(job, _Watch(after))
        watch.listeners += 1
        try:
            self._start()
            while not self._closed.is_set():
                if after < watch.last:
                    found = await self._between(job, watch, after)
                    if found:
                        after = found[-1].number
                        yield found
                        continue
                if watch.over:
                    return
                changed = watch.changed
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    yield []
        finally:
            watch.listeners -= 1
            if watch.listeners == 0:
                self._watches.pop(job, None)

    async def ended(self, job: str, seconds: float) -> bool:
        """Wait until a job has ended; False where it has not within so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for _ in self.follow(job, 0):
                    pass
                return not self._closed.is_set()
        return False

    async def _between(self, job: str, watch: _Watch, after: int) -> Sequence[StoredEvent]:
        recent = list(watch.recent)
        if recent and recent[0].number <= after + 1:
            return [event for event in recent if event.number > after]
        try:
            return await anyio.to_thread.run_sync(self._store.events, job, after, PAGE, limiter=self._limiter)
        except UnknownJobError:
            return []

    def _start(self) -> None:
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="events")

    async def _poll(self) -> None:
        while self._watches:
            asked = {job: watch.last for job, watch in self._watches.items() if not watch.over}
            try:
                found = await anyio.to_thread.run_sync(self._look, asked, limiter=self._limiter) if asked else {}
            except sa.exc.SQLAlchemyError:  # the database is away for a while: listeners wait, and miss nothing
                log.exception("the store of jobs cannot be read; trying again")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for job, (events, over) in found.items():
                if job in self._watches and self._watches[job].last == asked[job]:
                    self._watches[job].tell(events, over)
            if not any(len(events) == PAGE for events, _ in found.values()):
                await asyncio.sleep(INTERVAL_SECONDS)

    def _look(self, asked: dict[str, int]) -> dict[str, tuple[Sequence[StoredEvent], bool]]:
        """What is new of each job, and whether it has ended and nothing is left."""
        found = {}
        for job, last in asked.items():
            try:
                ended = self._store.get(job).state in ENDED  # first: whatever was told by then is among the events
                events = self._store.events(job, last, PAGE)
            except UnknownJobError:
                events, ended = [], True
            found[job] = events, ended and len(events) < PAGE
        return found
