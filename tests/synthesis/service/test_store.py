"""What the store of jobs promises, on SQLite and on PostgreSQL: made once, leased to one, told without a gap."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.records import ConflictError, LeaseLostError, UnknownJobError
from terrasynth.synthesis.service.specs import LONG, SHORT, parse_spec
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.store import JobStore

ALL = (*LONG, *SHORT)
LONG_LEASE, NO_LEASE = 600, -1  # seconds; a lease of the second kind has run out when it is given


def spec(data_set="coast", **more):
    return parse_spec({"kind": "run", "data_set": data_set, **more})


def draw():
    return parse_spec({"kind": "draw", "prompts": ["a beach"], "seeds": [0]})


def at_once(count, work):
    """Call `work` in as many threads, as nearly at the same moment as can be; gives what each returned."""
    gate = threading.Barrier(count)

    def one(number):
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def types(store, job):
    return [event.type for event in store.events(job)]


def test_a_new_job_waits_and_is_told(store):
    job, new = store.create(spec(), priority=3)
    assert new
    assert (job.state, job.priority, job.kind, job.data_set) == (State.QUEUED, 3, "run", "coast")
    assert job.spec == {"kind": "run", "data_set": "coast", "recipe": None, "shrink": False}
    assert store.get(job.id) == job
    assert [(event.number, event.type) for event in store.events(job.id)] == [(1, "queued")]


def test_the_same_key_makes_one_job(store):
    first, new = store.create(spec(), key="k")
    again, anew = store.create(spec(), key="k")
    assert (new, anew, again) == (True, False, first)
    assert store.counts()[State.QUEUED] == 1


def test_the_same_key_for_another_spec_is_refused(store):
    job, _ = store.create(spec(), key="k")
    with pytest.raises(ConflictError, match=rf"key 'k' was used for another job \({job.id}\); use a new key"):
        store.create(spec(shrink=True), key="k")
    assert len(store.list()) == 1


def test_the_same_key_at_the_same_moment_makes_one_job(store):
    made = at_once(8, lambda number: store.create(spec(), key="k"))
    assert len({job.id for job, _ in made}) == 1
    assert sum(new for _, new in made) == 1


def test_another_process_sees_what_was_created(store, database):
    job, _ = store.create(spec(recipe={"name": "å\u0000\ud800", "target": {"per_class": 3}}))
    other = JobStore(database)
    assert other.get(job.id) == job
    other.close()


def test_an_unknown_job_is_named(store):
    for ask in (store.get, store.events, store.cancel, store.retry, store.delete):
        with pytest.raises(UnknownJobError, match="there is no job 'nowhere'; `terrasynth jobs list` shows"):
            ask("nowhere")


def test_jobs_are_listed_by_page_the_newest_first(store):
    made = [store.create(spec(f"set-{number}"))[0].id for number in range(5)]
    assert [job.id for job in store.list(limit=2)] == [made[4], made[3]]
    assert [job.id for job in store.list(limit=9, before=made[3])] == [made[2], made[1], made[0]]
    assert [job.id for job in store.list(data_set="set-1")] == [made[1]]
    store.create(draw())
    assert [job.kind for job in store.list(kind="draw")] == ["draw"]
    store.cancel(made[0])
    assert [job.id for job in store.list(state=State.CANCELED)] == [made[0]]


def test_a_job_is_leased_by_priority_and_then_by_age(store):
    names = [store.create(spec(name), priority=priority)[0].id for name, priority in
             (("a", 0), ("b", 5), ("c", 5), ("d", -1))]
    order = [store.lease("w", LONG_LEASE, LONG).job.id for _ in names]
    assert order == [names[1], names[2], names[0], names[3]]
    assert store.lease("w", LONG_LEASE, LONG) is None


def test_only_the_wanted_kinds_are_leased(store):
    store.create(spec())
    assert store.lease("w", LONG_LEASE, SHORT) is None
    store.create(draw())
    assert store.lease("w", LONG_LEASE, SHORT).job.kind == "draw"


def test_a_job_is_leased_once_however_many_ask(store):
    jobs = {store.create(spec(f"set-{number}"))[0].id for number in range(6)}
    leases = at_once(12, lambda number: store.lease(f"w{number}", LONG_LEASE, ALL))
    taken = [lease.job.id for lease in leases if lease is not None]
    assert sorted(taken) == sorted(jobs)
    assert len({lease.token for lease in leases if lease is not None}) == 6


def test_two_jobs_are_never_at_work_on_one_data_set(store):
    for _ in range(6):
        store.create(spec())
    leases = [lease for lease in at_once(6, lambda number: store.lease("w", LONG_LEASE, ALL)) if lease is not None]
    assert len(leases) == 1
    store.finish(leases[0], State.SUCCEEDED)
    assert store.lease("w", LONG_LEASE, ALL) is not None
    assert store.lease("w", LONG_LEASE, ALL) is None


def test_a_plan_does_not_wait_for_a_run_of_its_data_set(store):
    store.create(spec())
    store.create(parse_spec({"kind": "plan", "recipe": {}, "data_set": "coast"}))
    assert {store.lease("w", LONG_LEASE, ALL).job.kind for _ in range(2)} == {"run", "plan"}


def test_numbers_of_events_have_no_gap_and_no_double_under_concurrent_writers(store):
    job, _ = store.create(spec())
    lease = store.lease("w", LONG_LEASE, ALL)

    def tell(number):
        return [store.append(lease, "block", {"writer": number, "place": place}).number for place in range(20)]

    told = at_once(6, tell)
    events = store.events(job.id, limit=1000)
    assert [event.number for event in events] == list(range(1, 122))
    assert sorted(number for numbers in told for number in numbers) == list(range(2, 122))
    for writer in range(6):  # and those of one writer are in its order
        assert [event.data["place"] for event in events if event.data.get("writer") == writer] == list(range(20))


def test_a_reader_never_sees_an_event_before_an_earlier_one(store):
    """A client that asks for what comes after the last number it saw would miss one that became visible later."""
    job, _ = store.create(spec())
    lease = store.lease("w", LONG_LEASE, ALL)
    seen, done = [], threading.Event()

    def follow():
        while True:
            over = done.is_set()
            found = store.events(job.id, after=seen[-1] if seen else 0, limit=7)
            seen.extend(event.number for event in found)
            if over and not found:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    at_once(4, lambda number: [store.append(lease, "block", {}) for _ in range(15)])
    done.set()
    reader.join()
    assert seen == list(range(1, 62))


def test_events_are_given_by_page(store):
    job, _ = store.create(spec())
    lease = store.lease("w", LONG_LEASE, ALL)
    store.append_all(lease, [("block", {"index": index}) for index in range(5)])
    assert [event.number for event in store.events(job.id, after=2, limit=2)] == [3, 4]
    assert store.events(job.id, after=6) == []


def test_several_events_are_told_all_or_none(store):
    job, _ = store.create(spec())
    lease = store.lease("w", LONG_LEASE, ALL)
    with pytest.raises(Exception, match="Out of range float"):
        store.append_all(lease, [("block", {}), ("block", {"seconds": float("nan")})], progress={"accepted": 1})
    assert types(store, job.id) == ["queued"]
    assert store.get(job.id).progress is None
    assert store.append(lease, "block", {}).number == 2


def test_a_lease_that_ran_out_can_write_nothing(store):
    job, _ = store.create(spec())
    lost = store.lease("slow", NO_LEASE, ALL)
    store.begin(lost)
    assert [each.id for each in store.reap()] == [job.id]
    held = store.lease("quick", LONG_LEASE, ALL)
    before = store.get(job.id), types(store, job.id)
    assert not store.renew(lost, LONG_LEASE)
    for write in (lambda: store.append(lost, "block", {}), lambda: store.finish(lost, State.SUCCEEDED),
                  lambda: store.release(lost, "stopped"), lambda: store.died(lost, "signal 9", ""),
                  lambda: store.postpone(lost, 5, "disk"), lambda: store.begin(lost)):
        with pytest.raises(LeaseLostError, match=rf"job {job.id} was taken back from 'slow'; another worker goes on"):
            write()
    assert (store.get(job.id), types(store, job.id)) == before
    assert store.renew(held, LONG_LEASE)
    store.append(held, "block", {})


def test_the_same_worker_has_another_lease_the_second_time(store):
    """The name of a worker proves nothing: its first child may still be writing when it starts a second one."""
    store.create(spec())
    first = store.lease("w", NO_LEASE, ALL)
    store.reap()
    second = store.lease("w", LONG_LEASE, ALL)
    assert first.job.id == second.job.id
    with pytest.raises(LeaseLostError):
        store.finish(first, State.SUCCEEDED)
    assert store.finish(second, State.SUCCEEDED).state is State.SUCCEEDED


def test_a_lease_that_was_renewed_in_time_is_not_reaped(store):
    job, _ = store.create(spec())
    lease = store.lease("w", NO_LEASE, ALL)
    assert store.renew(lease, LONG_LEASE)
    assert store.reap() == []
    assert store.get(job.id).state is State.RUNNING


def test_a_lease_that_ran_out_is_reaped_once_however_many_look(store):
    job, _ = store.create(spec())
    store.lease("w", NO_LEASE, ALL)
    assert sum(len(found) for found in at_once(6, lambda number: store.reap())) == 1
    assert store.get(job.id).deaths == 1


def test_an_ended_job_is_ended_once(store):
    job, _ = store.create(spec())
    lease = store.lease("w", LONG_LEASE, ALL)

    def finish(number):
        try:
            return store.finish(lease, State.SUCCEEDED, {"by": number}) is not None
        except LeaseLostError:
            return False

    assert sum(at_once(6, finish)) == 1
    assert types(store, job.id) == ["queued", "ended"]
    assert store.events(job.id)[-1].data == {"state": "succeeded", "result": store.get(job.id).result, "error": None}


def test_a_job_that_dies_three_times_is_set_aside_with_its_log(store):
    job, _ = store.create(spec())
    for death in range(1, 4):
        lease = store.lease("w", LONG_LEASE, ALL)
        store.begin(lease)
        assert store.died(lease, "signal 11", f"crash {death}\0").deaths == death
    found = store.get(job.id)
    assert (found.state, found.attempts) == (State.SET_ASIDE, 3)
    assert found.error == ("its process died 3 times in a row without a new block (signal 11); read its log, correct "
                           "what it says, and retry")
    assert store.lease("w", LONG_LEASE, ALL) is None
    events = store.events(job.id)
    assert [event.type for event in events] == ["queued", *["started", "died"] * 2, "started", "ended"]
    assert [event.data["log"] for event in events if "log" in event.data] == ["crash 1�", "crash 2�", "crash 3�"]


def test_what_was_set_aside_can_be_retried(store):
    job, _ = store.create(spec())
    for _ in range(3):
        store.died(store.lease("w", LONG_LEASE, ALL), "signal 11", "")
    again = store.retry(job.id)
    assert (again.state, again.deaths, again.error, again.ended) == (State.QUEUED, 0, None, None)
    store.died(store.lease("w", LONG_LEASE, ALL), "signal 11", "")
    assert store.get(job.id).state is State.QUEUED


def test_a_new_block_says_that_the_deaths_before_it_were_no_fault_of_the_job(store):
    job, _ = store.create(spec())
    for _ in range(5):
        lease = store.lease("w", LONG_LEASE, ALL)
        store.append(lease, "block", {}, made=True)
        store.died(lease, "signal 9", "")
    assert store.get(job.id).state is State.QUEUED
    for _ in range(2):
        lease = store.lease("w", LONG_LEASE, ALL)
        store.append(lease, "block", {})  # one that was there
        store.died(lease, "signal 9", "")
    assert store.get(job.id).state is State.SET_ASIDE


def test_a_job_that_waits_is_canceled_at_once(store):
    job, _ = store.create(spec())
    assert store.cancel(job.id).state is State.CANCELED
    assert store.cancel(job.id).state is State.CANCELED
    assert types(store, job.id) == ["queued", "ended"]
    assert store.lease("w", LONG_LEASE, ALL) is None


@pytest.mark.parametrize("ending", [
    lambda store, lease: store.release(lease, "stopped"), lambda store, lease: store.postpone(lease, 5, "disk"),
    lambda store, lease: store.died(lease, "signal 9", ""),
])
def test_a_job_at_work_is_canceled_when_its_worker_gives_it_back(store, ending):
    job, _ = store.create(spec())
    lease = store.lease("w", LONG_LEASE, ALL)
    flagged = store.cancel(job.id)
    assert (flagged.state, flagged.cancel) == (State.RUNNING, True)
    assert ending(store, lease).state is State.CANCELED
    assert types(store, job.id) == ["queued", "ended"]


def test_a_job_that_succeeded_can_neither_be_canceled_nor_retried(store):
    job, _ = store.create(spec())
    store.finish(store.lease("w", LONG_LEASE, ALL), State.SUCCEEDED)
    with pytest.raises(ConflictError, match="has ended \\(succeeded\\), so there is nothing left to cancel"):
        store.cancel(job.id)
    with pytest.raises(ConflictError, match="is succeeded, and only one that ended without success can be retried"):
        store.retry(job.id)


def test_a_stopped_job_goes_on_without_a_death(store):
    job, _ = store.create(spec())
    lease = store.lease("w", LONG_LEASE, ALL)
    store.begin(lease)
    store.release(lease, "the worker ends")
    found = store.get(job.id)
    assert (found.state, found.deaths, found.attempts, found.worker) == (State.QUEUED, 0, 1, None)
    assert types(store, job.id) == ["queued", "started", "stopped"]


def test_a_postponed_job_rests_and_tells_each_reason_once(store):
    job, _ = store.create(spec())
    other, _ = store.create(spec("other"))
    store.postpone(store.lease("w", LONG_LEASE, ALL), LONG_LEASE, "disk")
    assert store.lease("w", LONG_LEASE, ALL).job.id == other.id
    assert store.lease("w", LONG_LEASE, ALL) is None
    job, _ = store.create(spec("third"))
    for reason in ("disk", "disk", "memory"):
        store.postpone(store.lease("w", LONG_LEASE, ALL), 0, reason)
    assert [event.data["reason"] for event in store.events(job.id) if event.type == "waiting"] == ["disk", "memory"]
    assert store.get(job.id).attempts == 0


def test_only_ended_jobs_are_deleted(store):
    job, _ = store.create(spec(), key="k")
    with pytest.raises(ConflictError, match="is queued; cancel it first"):
        store.delete(job.id)
    store.cancel(job.id)
    store.delete(job.id)
    with pytest.raises(UnknownJobError):
        store.get(job.id)
    assert store.create(spec(), key="k")[1]


def test_jobs_are_counted_by_state(store):
    for name in ("a", "b", "c"):
        store.create(spec(name))
    store.lease("w", LONG_LEASE, ALL)
    counts = store.counts()
    assert (counts[State.QUEUED], counts[State.RUNNING], counts[State.FAILED]) == (2, 1, 0)
    assert set(counts) == set(State)


def test_stores_that_open_at_the_same_moment_make_the_tables_once(database):
    stores = at_once(6, lambda number: JobStore(database))
    job, _ = stores[0].create(spec())
    assert all(store.get(job.id) == job for store in stores)
    for store in stores:
        store.close()


def test_tables_of_another_version_are_refused(store, database):
    import sqlalchemy as sa

    engine = sa.create_engine(database)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE terrasynth_versions SET version = 99"))
    engine.dispose()
    with pytest.raises(InputError, match="tables of version 99, and this program knows 1; use the program"):
        JobStore(database)


@pytest.mark.parametrize(("address", "message"), [
    ("nothing", "database 'nothing' is no address; write postgresql"),
    ("mysql://host/name", "is of a kind that is not supported; use postgresql"),
    ("postgresql+psycopg://me:secret@127.0.0.1:1/jobs?connect_timeout=2", "cannot be opened: .*; check that it is"),
    ("sqlite:////proc/nowhere/jobs.sqlite", "cannot be opened: .*; check that it is there"),
])
def test_a_database_that_cannot_be_opened_is_named_without_its_password(address, message):
    with pytest.raises(InputError, match=message) as raised:
        JobStore(address)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("kept", [0, 100], ids=["nothing", "the header"])
def test_a_damaged_database_is_named_with_what_to_do(tmp_path, kept):
    path = tmp_path / "jobs.sqlite"
    JobStore(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:kept] + b"\xff" * (len(whole) - kept))
    with pytest.raises(InputError, match=r"jobs\.sqlite' is damaged: .*; put a copy back, or move it away"):
        JobStore(path)


def test_a_look_that_finds_only_what_rests_writes_nothing(tmp_path):
    store = JobStore(tmp_path / "jobs.sqlite")
    store.create(spec())
    lease = store.lease("one", LONG_LEASE, ALL)
    store.postpone(lease, 600, "the disk is full")
    asked = []
    sa.event.listen(store._database._engine, "before_cursor_execute",
                    lambda connection, cursor, statement, *more: asked.append(statement))
    assert store.lease("two", LONG_LEASE, ALL) is None
    assert asked[0] == "BEGIN"
    assert "BEGIN IMMEDIATE" not in asked
    store.close()
