"""Who may write a folder of objects: a lease, which is an object too, renewed while its holder lives.

Leases are numbered: to take one is to create the object of the next number, which a store does for one process alone.
How old one is, is told by the store's clock; how long a holder has not renewed its own, by a clock of the holder's that
does not go back. A holder stops writing well before others may take over, and whoever takes over looks once more.
"""

from __future__ import annotations

import io
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from terrasynth.synthesis.core.errors import InputError, RunError, StoreError
from terrasynth.synthesis.core.storage.listings import Entry, Held
from terrasynth.synthesis.core.storage.object_path import LEASES, ObjectPath

SECONDS = "TERRASYNTH_LEASE_SECONDS"
USUAL_SECONDS, LEAST_SECONDS = 60, 3
_SLACK = 2.0  # seconds: times of objects are whole ones


class LeasedError(InputError):
    """Another process holds the folder."""


@dataclass(frozen=True)
class _Lease:
    number: int
    entry: Entry
    holder: str
    seconds: float


def lease_seconds() -> float:
    """For how long a lease holds without being renewed: `TERRASYNTH_LEASE_SECONDS`, or 60.

    Raises:
        InputError: The variable holds no number, or less than 3.
    """
    given = os.environ.get(SECONDS, str(USUAL_SECONDS))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0
    if not LEAST_SECONDS <= seconds < 10**6:
        raise InputError(f"{SECONDS} is {given!r}; give a number of seconds, {LEAST_SECONDS} or more")
    return seconds


@contextmanager
def leased(folder: ObjectPath, shared: tuple[str, ...] = ()) -> Iterator[None]:
    """Hold a folder of objects for this process, and believe listings of it meanwhile.

    Args:
        shared: Names of folders in it that others write while it is held.

    Raises:
        LeasedError: Another process holds it, or has just taken it.
        InputError: The store does not check whether an object is there before it creates one.
        RunError: The lease was lost meanwhile.
    """
    folder.store.check_writes(folder.key)
    holding = _Holding(folder, lease_seconds())
    holding.take()
    held = Held(folder.key, tuple((folder / name).key for name in shared), holding.check)
    folder.store.hold(held)
    holding.begin()
    try:
        yield
    finally:
        holding.end()
        folder.store.let_go(held)
        holding.give_back()


@contextmanager
def unleased(folder: ObjectPath) -> Iterator[None]:
    """Read a folder of objects that nobody writes, and believe listings of it; one who begins later is not kept off.

    Raises:
        LeasedError: Somebody writes there.
    """
    found = _newest(folder)
    if found is not None and _age(folder, found, probe=False) < found.seconds:
        raise LeasedError(_refusal(folder, found, "wait for it to end"))
    with listed(folder):
        yield


@contextmanager
def listed(folder: ObjectPath) -> Iterator[None]:
    """Ask for each listing below a folder once."""
    held = Held(folder.key, (), lambda: None)
    folder.store.hold(held)
    try:
        yield
    finally:
        folder.store.let_go(held)


class _Holding:
    """A lease of this process."""

    def __init__(self, folder: ObjectPath, seconds: float) -> None:
        self._folder, self._seconds, self._store = folder, seconds, folder.store
        self._holder = f"{platform.node() or 'a machine'}, process {os.getpid()}"
        self._text = json.dumps({"holder": self._holder, "seconds": seconds, "token": secrets.token_hex(8)}).encode()
        self._own, self._renewed, self._lost = folder, 0.0, ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def take(self) -> None:
        before = _newest(self._folder)
        if before is not None:
            self._check_over(before)
        else:
            _age(self._folder, None)  # which also asks whether the store creates only what is not there
        self._renewed = time.monotonic()
        self._own = _object(self._folder, (before.number if before else 0) + 1)
        if not self._store.create(self._own.key, io.BytesIO(self._text), len(self._text)):
            raise LeasedError(f"{str(self._folder)!r} has just been taken by another process; wait for it to end or "
                              "choose another --out")
        if before is not None:
            if self._store.entry(_object(self._folder, before.number).key) != before.entry:
                self._store.delete([self._own.key])
                raise LeasedError(_refusal(self._folder, before, "its holder is alive after all; wait for it to end"))
            self._store.delete([_object(self._folder, before.number).key])

    def _check_over(self, before: _Lease) -> None:
        left = before.seconds + _SLACK - _age(self._folder, before)
        if left > 0:
            raise LeasedError(_refusal(
                self._folder, before, "wait for it to end or choose another --out; if it is dead, the run can be gone "
                f"on with in {left:.0f} s"))

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def give_back(self) -> None:
        if not self._lost:
            with suppress(StoreError):  # it runs out by itself
                self._store.delete([self._own.key])

    def check(self) -> None:
        """Raises where others may have taken it."""
        idle = time.monotonic() - self._renewed
        if not self._lost and idle > self._seconds * 2 / 3:
            self._lost = f"it could not be renewed for {idle:.0f} s"
        if self._lost:
            raise RunError(f"the lease on {str(self._folder)!r} was lost ({self._lost}), so nothing more is written "
                           "there; run the same command again")

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds / 6):
            began = time.monotonic()
            try:
                self._store.put(self._own.key, io.BytesIO(self._text), len(self._text))
                newest = _newest(self._folder)
            except (StoreError, RunError, OSError):
                continue  # `check` knows how long that has been so
            if newest is None or _object(self._folder, newest.number) != self._own:
                self._lost = f"another process took it: {newest.holder if newest else 'unknown'}"
                return
            if not self._lost:
                self._renewed = began


def _object(folder: ObjectPath, number: int) -> ObjectPath:
    return folder / LEASES / f"{number:08d}.json"


def _newest(folder: ObjectPath) -> _Lease | None:
    """The lease of the highest number; None where there is none."""
    store, key = folder.store, (folder / LEASES).key
    found = {name: entry for name, entry in store.below(key) if name[:8].isdecimal()}
    if not found:
        return None
    name = max(found)
    try:
        content = json.loads(store.read(f"{key}/{name}"))
        holder, seconds = str(content["holder"]), float(content["seconds"])
    except FileNotFoundError:  # given back meanwhile
        return None
    except (ValueError, KeyError, TypeError):
        holder, seconds = "unknown", float(USUAL_SECONDS)
    return _Lease(int(name[:8]), found[name], holder, seconds)


def _age(folder: ObjectPath, lease: _Lease | None, probe: bool = True) -> float:
    """Seconds since a lease was renewed, by the store's clock; without one 0.

    Args:
        probe: Ask the store by writing; by this machine's clock where that must not be.

    Raises:
        InputError: The store writes over what it should create.
    """
    now = time.time()
    if probe:
        asked = folder / LEASES / f"clock-{secrets.token_hex(8)}"
        store, first, second = folder.store, io.BytesIO(b"1"), io.BytesIO(b"2")
        try:
            store.create(asked.key, first, 1)
            if store.create(asked.key, second, 1):
                raise InputError(f"the store of {str(folder)!r} replaces an object that it should only create "
                                 "(If-None-Match), so two runs could write at once; use one that checks, or a folder")
            entry = store.entry(asked.key)
            now = entry.modified if entry is not None else now
        finally:
            store.delete([asked.key])
    return now - lease.entry.modified if lease is not None else 0.0


def _refusal(folder: ObjectPath, lease: _Lease, advice: str) -> str:
    return f"{str(folder)!r} is in use by another process ({lease.holder}); {advice}"
