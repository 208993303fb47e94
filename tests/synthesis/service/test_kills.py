"""SIGKILL at random moments over a server, two workers and their children, while jobs are queued and done.

`TERRASYNTH_KILLS=100` kills as often, over 20 jobs so long that there is work left at each kill; without it there are
a few kills over a few jobs.
"""

import os
import random
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from terrasynth.synthesis import Recipe, run
from terrasynth.synthesis.service.client import Client
from terrasynth.synthesis.service.states import ENDED, State
from terrasynth.synthesis.service.store import JobStore
from tests.synthesis.helpers import fingerprint
from tests.synthesis.service.cells import RECIPE, install_cells

KILLS = int(os.environ.get("TERRASYNTH_KILLS", "4"))
JOBS = min(20, max(3, KILLS // 2))
PER_CLASS = max(30, 3 * KILLS)  # most of the time passes in starts, and many images are drawn in a second
LEASE = "5"


class Machine:
    """A server and two workers, started again whenever one of them is gone, as a service manager does."""

    def __init__(self, python, runs, database, log):
        self._python = python
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        common = ["--runs", runs, "--database", database, "--lease", LEASE, "--deaths", "100000",
                  "--spare-memory", "0", "--spare-disk", "0"]
        self._commands = [["serve", "--no-workers", "--port", port, *common], ["worker", *common], ["worker", *common]]
        self._log = log.open("ab")
        self._processes = [self._start(command) for command in self._commands]
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._watch = threading.Thread(target=self._keep)
        self._watch.start()

    def victims(self):
        """Process ids: the server, the workers, and their children."""
        with self._lock:
            own = [process.pid for process in self._processes if process.poll() is None]
        return own + [child for pid in own for child in children_of(pid)]

    def children(self):
        """Process ids of the children alone."""
        with self._lock:
            return [child for process in self._processes for child in children_of(process.pid)]

    def end(self):
        """Ask all for their end when each is there again, and wait for it."""
        while not self._whole():
            time.sleep(0.05)
        self._over.set()
        self._watch.join()
        for process in self._processes:
            process.terminate()
        codes = [process.wait() for process in self._processes]
        self._log.close()
        return codes

    def _whole(self):
        with self._lock:
            return all(process.poll() is None for process in self._processes)

    def _start(self, command):
        return self._python.start("-m", "terrasynth", *command, stdout=self._log.fileno(), stderr=self._log.fileno())

    def _keep(self):
        while not self._over.wait(0.05):
            with self._lock:
                self._processes = [process if process.poll() is None else self._start(command)
                                   for process, command in zip(self._processes, self._commands, strict=True)]


def children_of(pid):
    """Process ids of what the threads of a process have started."""
    try:
        return [int(each) for thread in Path(f"/proc/{pid}/task").iterdir()
                for each in (thread / "children").read_text().split()]
    except OSError:
        return []


class Followers:
    """A client for each job, which follows its events from the first to the last."""

    def __init__(self, address):
        self._address = address
        self.seen = {}
        self._threads = []

    def follow(self, job):
        seen = self.seen.setdefault(job, [])
        client = Client(self._address, patience=300)
        thread = threading.Thread(target=lambda: seen.extend(client.follow(job)))
        self._threads.append(thread)
        thread.start()

    def wait(self):
        for thread in self._threads:
            thread.join()


@pytest.mark.slow
def test_kills_lose_nothing_and_double_nothing(python, database, tmp_path, monkeypatch):
    install_cells(tmp_path / "site", monkeypatch)
    moments, runs = random.Random(KILLS), tmp_path / "runs"
    runs.mkdir()
    target = {"per_class": PER_CLASS, "max_attempts": 10 * PER_CLASS}
    recipes = {f"set-{number}": RECIPE | {"seed": number, "target": target} for number in range(JOBS)}
    store = JobStore(database)
    machine = Machine(python, runs, database, tmp_path / "log")
    followers, client, made = Followers(machine.address), Client(machine.address, patience=300), {}

    def submit_all():
        for name, recipe in recipes.items():
            spec = {"kind": "run", "data_set": name, "recipe": recipe}
            made[name] = client.submit(spec, key=name)["id"]
            assert client.submit(spec, key=name)["id"] == made[name]
            followers.follow(made[name])

    submitting = threading.Thread(target=submit_all)
    submitting.start()
    try:
        kills = kill_at_work(machine, store)
        while kills < KILLS and (submitting.is_alive() or is_busy(store)):
            wait_for_a_moment(moments, store)
            kills += kill_one(moments, machine, store)
        print(f"{kills} kills while jobs were queued or run, over {JOBS} jobs")
        submitting.join()
        followers.wait()
    finally:
        codes = machine.end()

    assert kills >= KILLS, "the work was over before the last kill"
    assert codes[0] in (0, -signal.SIGTERM), (tmp_path / "log").read_text()
    jobs = {job.id: job for job in store.list(limit=1000)}
    assert set(jobs) == set(made.values())
    assert {job.state for job in jobs.values()} == {State.SUCCEEDED}
    assert sum(job.attempts for job in jobs.values()) > JOBS  # so the kills were at work
    for name, job in made.items():
        events = store.events(job, limit=100_000)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert [event["number"] for event in followers.seen[job]] == list(range(1, len(events) + 1))
        assert [event.type for event in events].count("ended") == 1
        told = [(event.data["label"], event.data["index"]) for event in events if event.type == "block"]
        files = [(path.parent.name, int(path.stem)) for path in (runs / name / "blocks").rglob("*.parquet")]
        assert sorted(told) == sorted(files)
        run(Recipe.parse(recipes[name]), tmp_path / "whole" / name)
        assert fingerprint(runs / name / "data") == fingerprint(tmp_path / "whole" / name / "data")
        assert fingerprint(runs / name / "blocks") == fingerprint(tmp_path / "whole" / name / "blocks")
    store.close()


def kill_at_work(machine, store):
    """Kill the children when the first of them has checked everything, and begins to draw; gives how many."""
    while not any(event.type == "planned" for job in store.list() for event in store.events(job.id)):
        time.sleep(0.02)
    children = machine.children()
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(children)


def is_busy(store):
    """Whether there is a job that has not ended."""
    counts = store.counts()
    return counts[State.QUEUED] + counts[State.RUNNING] > 0


def wait_for_a_moment(moments, store):
    """Any moment, or one just after something was done: most of the time would otherwise be that of a start."""
    if moments.random() < 0.4:
        time.sleep(moments.uniform(0, 2))
        return
    before = done(store)
    while done(store) == before and is_busy(store):
        time.sleep(0.05)
    time.sleep(moments.uniform(0, 0.3))


def done(store):
    """Blocks that were told so far, and jobs that ended."""
    return (sum(job.progress["drawn"] for job in store.list(limit=1000) if job.progress),
            sum(count for state, count in store.counts().items() if state in ENDED))


def kill_one(moments, machine, store):
    """Kill one process, or all at once, as a power cut does; gives how many kills there were, none without work."""
    victims = machine.victims() if is_busy(store) else []
    chosen = victims if moments.random() < 0.05 else [moments.choice(victims)] if victims else []
    killed = 0
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed
