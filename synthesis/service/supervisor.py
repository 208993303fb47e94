"""The supervisor: leases jobs, lets child processes do them, and counts how these end.

All it knows is in the store, so that it may be killed at any moment: its children hear of it, stop between blocks and
give their jobs back. It loads no model.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from terrasynth.synthesis.core.errors import one_line
from terrasynth.synthesis.service.children import NOT_ITS_FAULT, Child, ending_of, tail_of
from terrasynth.synthesis.service.locks import held_by_a_process
from terrasynth.synthesis.service.orders import Order
from terrasynth.synthesis.service.places import log_file, run_folder
from terrasynth.synthesis.service.records import Lease, LeaseLostError
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.shortage import MIB, shortage
from terrasynth.synthesis.service.specs import LONG, SHORT
from terrasynth.synthesis.service.store import MOST_DEATHS, JobStore

TICK_SECONDS, WAIT_SECONDS, LOOK_SECONDS = 0.1, 5.0, 0.5
PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class WorkSettings:
    """How jobs are done.

    Attributes:
        runs: The folder of data sets.
        workers: Long jobs at once.
        lease_seconds: How long nobody else takes a job whose worker is silent.
        grace_seconds: How long a child may go on after it was asked to stop.
        idle_seconds: How long the child of short jobs stays when it has nothing to do.
        spare_disk: Bytes that have to be free on the disk before a long job is begun.
        spare_memory: Bytes of memory that have to be available before a long job is begun.
        most_deaths: Deaths in a row after which a job is set aside.
        places: What requests may name.
    """

    runs: Path
    workers: int = 1
    lease_seconds: float = 30.0
    grace_seconds: float = 600.0
    idle_seconds: float = 600.0
    spare_disk: int = 512 * MIB
    spare_memory: int = 1024 * MIB
    most_deaths: int = MOST_DEATHS
    places: Places = field(default_factory=Places)


@dataclass
class _Place:
    """Where one job at a time is done.

    Attributes:
        kinds: Of the jobs.
        stays: Whether its child stays for the next job.
        child: The process; None where there is none.
        lease: Of the job at work; None where there is none.
        renewed: When the lease was renewed last, by this process's clock.
        looked: When it was looked whether the job is to be canceled.
        free_since: When its last job ended.
    """

    kinds: tuple[str, ...]
    stays: bool
    child: Child | None = None
    lease: Lease | None = None
    renewed: float = 0.0
    looked: float = 0.0
    free_since: float = 0.0


class Supervisor:
    """Does the jobs of a store."""

    def __init__(self, settings: WorkSettings, store: JobStore) -> None:
        self._settings, self._store = settings, store
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        # Whoever waits for a plan or an image is looked after first.
        self._places = [_Place(SHORT, True), *(_Place(LONG, False) for _ in range(settings.workers))]
        self._reaped = float("-inf")

    def run(self, stop: threading.Event, kill: threading.Event | None = None) -> None:
        """Do jobs until `stop` is set; then wait until the children have stopped between blocks, or `kill` is set."""
        while not stop.is_set():
            self._patiently(self._tick)
            stop.wait(TICK_SECONDS)
        while any(place.child is not None for place in self._places):
            for place in self._places:
                if place.child is not None:
                    if kill is not None and kill.is_set():
                        place.child.kill()
                    place.child.dismiss()
                    place.child.stop(self._settings.grace_seconds)
            self._patiently(self._look_after_all)
            time.sleep(TICK_SECONDS)

    def _patiently(self, step: Callable[[], None]) -> None:
        """Whatever goes wrong in a step, the next one is done: children and leases have to be looked after."""
        try:
            step()
        except Exception as error:  # and there is nobody above who could do better
            print(f"supervisor: {one_line(error, 300)}; trying again", file=sys.stderr, flush=True)
            time.sleep(PAUSE_SECONDS)

    def _tick(self) -> None:
        self._look_after_all()
        now = time.monotonic()
        if now - self._reaped > self._settings.lease_seconds / 3:
            self._store.reap(lambda job: tail_of(log_file(self._settings.runs, job)))
            self._reaped = now
        nothing: set[tuple[str, ...]] = set()
        for place in self._places:
            if place.lease is None and place.kinds not in nothing and (place.child is None or place.child.available) \
                    and not self._fill(place):
                nothing.add(place.kinds)

    def _look_after_all(self) -> None:
        for place in self._places:
            self._look_after(place)

    def _fill(self, place: _Place) -> bool:
        """Begin the next job, if the machine can bear it; False where there is none."""
        settings = self._settings
        lease = self._store.lease(self._name, settings.lease_seconds, place.kinds)
        if lease is None:
            if place.child is not None and time.monotonic() - place.free_since > settings.idle_seconds:
                place.child.dismiss()
            return False
        try:
            waits = "" if place.stays else self._hindrance(lease)
            if waits:
                self._store.postpone(lease, WAIT_SECONDS, waits)
                return True
            place.child = place.child or Child(log_file(settings.runs, lease.job.id))
            self._store.begin(lease)
        except LeaseLostError:
            return True
        except OSError as error:  # no process can be had, or no file: nothing that the job has done
            self._store.postpone(lease, WAIT_SECONDS, f"no process can be started: {one_line(error)}")
            raise
        place.lease, place.renewed, place.looked = lease, time.monotonic(), time.monotonic()
        place.child.send(Order(
            lease.job.id, lease.token, self._store.address, settings.lease_seconds, settings.most_deaths,
            settings.runs.absolute(), settings.places, last=not place.stays,
        ))
        return True

    def _hindrance(self, lease: Lease) -> str:
        """Why a job cannot be begun yet; "" where it can."""
        settings = self._settings
        if lease.job.data_set is not None and held_by_a_process(run_folder(settings.runs, lease.job.data_set)):
            return f"data set {lease.job.data_set!r} is in use by another process; it goes on when that has ended"
        return shortage(settings.runs, settings.spare_disk, settings.spare_memory)

    def _look_after(self, place: _Place) -> None:
        """See how a child is, and hold its lease for it."""
        if place.child is None:
            return
        code = place.child.code
        if code is not None:
            self._account_for(place, place.child, code)
            return
        now, lease, settings = time.monotonic(), place.lease, self._settings
        if place.child.stopped:
            place.child.stop(settings.grace_seconds)
        if lease is None:
            return
        if now - place.looked > LOOK_SECONDS or place.stays:
            place.looked = now
            if not self._store.holds(lease):  # it is done
                self._set_free(place)
                return
            if not place.child.stopped and self._store.get(lease.job.id).cancel:
                place.child.stop(settings.grace_seconds)
        if now - place.renewed > settings.lease_seconds / 3:
            place.renewed = now
            if not self._store.renew(lease, settings.lease_seconds) and not place.child.stopped:
                place.child.stop(settings.grace_seconds)

    def _set_free(self, place: _Place) -> None:
        place.lease, place.free_since = None, time.monotonic()
        if not place.stays and place.child is not None:
            place.child.dismiss()

    def _account_for(self, place: _Place, child: Child, code: int) -> None:
        """A child has ended: where its job has not, that is a death, unless it was asked for."""
        lease = place.lease
        if lease is not None:
            try:
                if child.stopped:
                    self._store.release(lease, "it was stopped")
                elif code == NOT_ITS_FAULT:
                    self._store.release(lease, "its process could not go on")
                else:
                    log = tail_of(log_file(self._settings.runs, lease.job.id))
                    self._store.died(lease, ending_of(code), log)
            except LeaseLostError:
                pass  # the child has said itself how the job ended
        child.dismiss()
        place.child, place.lease, place.free_since = None, None, time.monotonic()
