"""Who holds a folder in object storage, and what becomes of the writes of one who holds it no longer."""

import threading
import time

import pytest

from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.files import InUseError, locked
from terrasynth.synthesis.core.storage import lease, store
from terrasynth.synthesis.core.storage.object_path import LEASES, place
from tests.object_store import BUCKET, content

RUN = f"s3://{BUCKET}/runs/one"


def test_of_many_that_ask_at_once_one_gets_the_lease(s3):
    got, refused, ready = [], [], threading.Barrier(8)

    def ask():
        ready.wait()
        try:
            with locked(place(RUN)):
                got.append(1)
                time.sleep(0.5)
        except InUseError:
            refused.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(got), len(refused)) == (1, 7)
    assert not [key for key in s3.objects() if LEASES in key]


def test_the_lease_of_a_dead_process_can_be_taken_after_its_time(s3, monkeypatch):
    monkeypatch.setenv(lease.SECONDS, "3")
    dead = lease._Holding(place(RUN), 3.0)
    dead.take()
    with pytest.raises(InUseError, match=r"can be gone on with in [2-5] s"), locked(place(RUN)):
        pass
    deadline = time.monotonic() + 20
    while True:
        try:
            with locked(place(RUN)):
                break
        except InUseError:
            assert time.monotonic() < deadline
            time.sleep(0.25)
    assert not [key for key in s3.objects() if LEASES in key]


def test_who_lost_the_lease_writes_nothing_more(s3, monkeypatch):
    monkeypatch.setenv(lease.SECONDS, "3")
    run_ = place(RUN)

    def loses():
        with locked(run_):
            (run_ / "before").write_bytes(b"1")
            (run_ / LEASES / "00000009.json").store.create(
                (run_ / LEASES / "00000009.json").key, *content(b'{"holder": "another", "seconds": 3}'))
            time.sleep(1.5)
            (run_ / "after").write_bytes(b"1")

    with pytest.raises(RunError, match=r"lease on .* was lost \(another process took it: another\)"):
        loses()
    assert set(s3.objects("runs/one/")) == {"before", f"{LEASES}/00000009.json", f"{LEASES}/00000001.json"}


@pytest.mark.parametrize("name", ["data/train-00000.parquet", "blocks/beach/00000.parquet"])
def test_what_is_tried_again_is_not_written_once_the_lease_is_lost(s3, monkeypatch, name):
    """A holder whose puts fail until another has its lease: its further tries would come after the other's."""
    monkeypatch.setenv(lease.SECONDS, "3")
    monkeypatch.setattr(store, "LONGEST_WAIT", 4.0)  # in which the lease is renewed several times, or runs out
    monkeypatch.setattr(store, "FIRST_WAIT", 4.0)
    run_, failed = place(RUN), []

    def fails_once(_number, method, path):
        if method != "PUT" or name not in path or failed:
            return None
        failed.append(path)
        s3.overwrite(f"runs/one/{LEASES}/00000009.json", b'{"holder": "another", "seconds": 3}')
        s3.overwrite(f"runs/one/{name}", b"of the other")
        return "error"

    s3.faults = fails_once
    path = run_ / name
    write = path.store.create if name.startswith("blocks") else path.store.put
    with pytest.raises(RunError, match=r"lease on .* was lost"), locked(run_):
        write(path.key, *content(b"of the first"))
    assert failed
    assert s3.objects(f"runs/one/{name}") == {"": b"of the other"}


@pytest.mark.parametrize("there_before", [True, False])
def test_a_put_that_comes_after_that_of_the_next_holder_changes_nothing(s3, there_before):
    """The first holder looked at the clock, and stood still before its put until the next one had written."""
    run_ = place(RUN)
    path = run_ / "data" / "train-00000.parquet"
    if there_before:
        s3.overwrite("runs/one/data/train-00000.parquet", b"before")

    def meanwhile(method, asked):
        if method == "PUT" and "data/" in asked:
            s3.before = None
            s3.overwrite("runs/one/data/train-00000.parquet", b"of the next")

    with locked(run_):
        assert path.is_file() is there_before
        s3.before = meanwhile
        with pytest.raises(RunError, match=r"train-00000\.parquet was written by another process meanwhile; run the"):
            path.write_bytes(b"of the first")
    assert s3.objects("runs/one/data/") == {"train-00000.parquet": b"of the next"}


def test_the_next_holder_is_told_of_a_put_that_came_late(s3):
    path = place(RUN) / "data" / "train-00000.parquet"
    with locked(place(RUN)):
        path.write_bytes(b"one")
        path.write_bytes(b"two")  # as a run that grows
        assert not (place(RUN) / "data" / "train-00001.parquet").is_file()
        s3.overwrite("runs/one/data/train-00001.parquet", b"of the first")
        with pytest.raises(RunError, match="was written by another process meanwhile"):
            (place(RUN) / "data" / "train-00001.parquet").write_bytes(b"three")
        s3.faults = lambda _number, method, asked: "lost answer" if method == "PUT" and not done.append(1) and len(
            done) == 1 else None
        done = []
        path.write_bytes(b"four")  # whose first try was done, and not answered
    assert s3.objects("runs/one/data/") == {"train-00000.parquet": b"four", "train-00001.parquet": b"of the first"}
