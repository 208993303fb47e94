"""Streams of events: none missing, none twice, whoever comes back when; and what an open one costs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import httpx
import pytest

from terrasynth.synthesis.service.specs import parse_spec
from terrasynth.synthesis.service.states import State
from tests.synthesis.service.web import events_in, web_server


@pytest.fixture
def server(settings, job_store):
    with web_server(replace(settings, streams=40), job_store) as address:
        yield address


def begun(job_store, data_set="coast"):
    job_store.create(parse_spec({"kind": "run", "data_set": data_set}))
    lease = job_store.lease("test", 600, ["run"])
    job_store.begin(lease)
    return lease


def followed(address, job, **headers):
    """The whole text of a stream, to its end."""
    answer = httpx.get(f"{address}/v1/jobs/{job}/events", headers=headers, timeout=60)
    assert answer.status_code in (200, 204), answer.text
    return answer


def numbers(text):
    return [number for number, _ in events_in(text)]


def test_a_stream_gives_all_events_and_ends_with_the_job(server, job_store):
    lease = begun(job_store)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(followed, server, lease.job.id)
        for index in range(1200):  # more than are kept in memory, and than are read at once
            job_store.append(lease, "block", {"index": index, "label": "a\nb"})
        job_store.finish(lease, State.SUCCEEDED, {"rows": 1})
        found = events_in(stream.result().text)
    assert [number for number, _ in found] == list(range(1, 1204))
    assert [kind for _, kind in found[:2]] == ["queued", "started"]
    assert found[-1][1] == "ended"


@pytest.mark.parametrize("known", [1, 2, 7])
def test_a_client_that_comes_back_gets_what_it_lacks(server, job_store, known):
    lease = begun(job_store)
    for index in range(5):
        job_store.append(lease, "block", {"index": index})
    job_store.finish(lease, State.SUCCEEDED)
    assert numbers(followed(server, lease.job.id, **{"Last-Event-ID": str(known)}).text) == list(range(known + 1, 9))
    by_query = httpx.get(f"{server}/v1/jobs/{lease.job.id}/events", params={"after": known}, timeout=60)
    assert numbers(by_query.text) == list(range(known + 1, 9))


def test_a_client_that_has_everything_is_told_not_to_come_back(server, job_store):
    lease = begun(job_store)
    job_store.finish(lease, State.FAILED, error="no")
    assert followed(server, lease.job.id, **{"Last-Event-ID": "3"}).status_code == 204


def test_a_number_that_was_never_given_is_refused(server, job_store):
    lease = begun(job_store)
    answer = httpx.get(f"{server}/v1/jobs/{lease.job.id}/events", headers={"Last-Event-ID": "99"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_event")


def test_clients_that_are_cut_off_again_and_again_miss_nothing(server, job_store):
    lease = begun(job_store)

    def tell():
        for index in range(300):
            job_store.append(lease, "block", {"index": index})
        job_store.finish(lease, State.SUCCEEDED)

    teller = threading.Thread(target=tell)
    teller.start()
    known, seen = 0, []
    while True:
        headers = {"Last-Event-ID": str(known)} if known else {}
        with httpx.stream("GET", f"{server}/v1/jobs/{lease.job.id}/events", headers=headers, timeout=60) as answer:
            if answer.status_code == 204:
                break
            text = ""
            for part in answer.iter_text():
                text += part
                whole = text.rpartition("\n\n")[0]
                if len(numbers(whole)) >= 20:
                    break
            seen += numbers(whole)
            known = seen[-1]
    teller.join()
    assert seen == list(range(1, 304))


def test_a_retried_job_goes_on_behind_its_end(server, job_store):
    lease = begun(job_store)
    job_store.finish(lease, State.FAILED, error="no")
    job_store.retry(lease.job.id)
    again = job_store.lease("test", 600, ["run"])
    job_store.begin(again)
    job_store.finish(again, State.SUCCEEDED)
    kinds = [kind for _, kind in events_in(followed(server, lease.job.id).text)]
    assert kinds == ["queued", "started", "ended", "queued", "started", "ended"]


def test_a_job_that_is_forgotten_ends_its_streams(server, job_store):
    job, _ = job_store.create(parse_spec({"kind": "run", "data_set": "coast"}))
    with httpx.stream("GET", f"{server}/v1/jobs/{job.id}/events", timeout=60) as answer:
        parts = answer.iter_text()
        assert "queued" in next(parts) + next(parts)
        job_store.cancel(job.id)
        job_store.delete(job.id)
        assert set(numbers("".join(parts))) <= {2}


def test_open_streams_cost_no_thread_and_no_connection_and_have_a_limit(server, job_store):
    leases = [begun(job_store, f"set-{number}") for number in range(4)]
    addresses = [f"{server}/v1/jobs/{lease.job.id}/events" for lease in leases]
    limits = httpx.Limits(max_connections=None)
    with ExitStack() as stack, httpx.Client(timeout=60, limits=limits) as client:
        first = [stack.enter_context(client.stream("GET", address)) for address in addresses]
        assert all(answer.status_code == 200 for answer in first)
        httpx.get(f"{server}/v1/jobs")
        threads = threading.active_count()
        pool = job_store._database._engine.pool
        more = [stack.enter_context(client.stream("GET", address)) for address in addresses * 9]
        assert all(answer.status_code == 200 for answer in more)
        assert threading.active_count() <= threads + 2  # those of the server's pool, which are few whatever comes
        assert pool.checkedout() <= 2
        refused = client.get(addresses[0])
        assert (refused.status_code, refused.json()["code"]) == (429, "streams_full")
        assert refused.headers["retry-after"]
        for lease in leases:
            job_store.finish(lease, State.SUCCEEDED)
        for answer in first + more:
            assert events_in(answer.read().decode())[-1][1] == "ended"
    assert 'terrasynth_event_streams 0.0' in httpx.get(f"{server}/metrics").text


def test_streams_end_with_the_server(settings, job_store):
    lease = begun(job_store)
    told, text = threading.Event(), []

    def follow(address):
        with httpx.stream("GET", f"{address}/v1/jobs/{lease.job.id}/events", timeout=60) as answer:
            for part in answer.iter_text():
                text.append(part)
                if numbers("".join(text)) == [1, 2]:
                    told.set()

    with ThreadPoolExecutor(1) as pool:
        with web_server(settings, job_store) as address:
            stream = pool.submit(follow, address)
            assert told.wait(60)
        stream.result()
    assert numbers("".join(text)) == [1, 2]
