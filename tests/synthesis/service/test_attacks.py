"""Attacks on a server: each is refused or harmless."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service import server as server_module
from terrasynth.synthesis.service.app import create_app
from terrasynth.synthesis.service.limits import BodyLimits
from terrasynth.synthesis.service.security import COOKIE, POLICY
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.service.specs import parse_spec
from tests.synthesis.service.web import TOKEN, web_server

JOB = {"kind": "run", "data_set": "coast", "recipe": {"generator": {"model": "ldm-ucm"}}}
SECRET = "the content of a file that nobody may read here"


@pytest.fixture
def address(settings, job_store):
    with web_server(replace(settings, body_seconds=1.0), job_store) as found:
        yield found


@pytest.fixture
def guarded(settings, job_store):
    """A client of a server with a token, which shows none."""
    with TestClient(create_app(replace(settings, token=TOKEN), job_store), base_url="http://127.0.0.1:8765",
                    follow_redirects=False) as made:
        yield made


@contextmanager
def connected(address):
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=30) as made:
        yield made


def raw(address, request: bytes) -> bytes:
    """What a server answers to bytes that no client library would send, to the end of the connection."""
    with connected(address) as made:
        made.sendall(request)
        found = b""
        while part := made.recv(65536):
            found += part
        return found


def head(address, path="/v1/jobs", method="GET", *lines):
    host = f"Host: {urlsplit(address).netloc}"
    return "\r\n".join([f"{method} {path} HTTP/1.1", host, "Connection: close", *lines, "", ""]).encode()


# Names and origins


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example",
    "evil.example@127.0.0.1", "127.0.0.1:8765/evil", "10.0.0.1", "0.0.0.0", "[::2]", "127.0.0.1:99999999", "127.1", " ",
])
def test_another_host_is_refused(client, host):
    answer = client.get("/v1/jobs", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "host_refused")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "127.0.0.2:80", "[::1]:8765", "LOCALHOST"])
def test_names_of_this_machine_are_answered(client, host):
    assert client.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", [
    "null", "http://evil.example", "https://evil.example:8765", "http://127.0.0.1", "http://127.0.0.1:9000",
    "http://localhost:8765", "http://127.0.0.1:8765.evil.example", "file://", "chrome-extension://127.0.0.1:8765", "",
])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_another_origin_is_refused(client, origin, method):
    answer = client.request(method, "/v1/jobs", headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_its_own_page_is_answered(client):
    assert client.post("/v1/jobs", json=JOB, headers={"Origin": "http://127.0.0.1:8765"}).status_code == 201


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_picture_or_a_form_of_another_site_is_refused(client, site):
    for method, headers in (("GET", {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}),
                            ("GET", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}),
                            ("POST", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"})):
        assert client.request(method, "/v1/jobs", headers={"Sec-Fetch-Site": site} | headers).status_code == 403
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/v1/jobs", headers=link).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_makes_no_job(client, kind, job_store):
    answer = client.post("/v1/jobs", content=json.dumps(JOB), headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert not job_store.list()


def test_two_hosts_or_none_are_refused(address):
    assert b" 400 " in raw(address, b"GET /v1/jobs HTTP/1.1\r\nConnection: close\r\n\r\n").partition(b"\r\n")[0]
    both = head(address, "/v1/jobs", "GET", "Host: evil.example")
    assert raw(address, both).partition(b"\r\n")[0].split()[1] in (b"400", b"403")


@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/v1/openapi.json", "/v1/data-sets/x", "/nothing", "/healthz"])
def test_every_answer_says_what_a_browser_may_do(client, path):
    headers = client.get(path, headers={"Accept": "text/html"}, follow_redirects=False).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert headers["cross-origin-resource-policy"] == "same-origin"


# The token


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_no_server_for_others_without_a_token(runs, job_store, host):
    with pytest.raises(InputError, match="there is no token"):
        create_app(ServiceSettings(runs, host=host), job_store)
    with pytest.raises(InputError, match="16 are the fewest"):
        create_app(ServiceSettings(runs, host=host, token="short"), job_store)


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": TOKEN},
    {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer"}, {"Cookie": f"{COOKIE}={TOKEN}"},
    {"Cookie": f"{COOKIE}=;;=,"}, {"Authorization": "Bearer \xff".encode("latin-1")}, {"X-Forwarded-For": "127.0.0.1"},
])
def test_whoever_does_not_show_the_token_gets_nothing(guarded, headers):
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/metrics"), ("GET", "/v1/openapi.json"),
                         ("GET", f"/v1/jobs?token={TOKEN}"), ("DELETE", "/v1/data-sets/x"), ("GET", "/nothing")):
        answer = guarded.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "no_token")
        assert TOKEN not in answer.text
    assert guarded.get("/healthz").status_code == 200


def test_the_token_opens_and_a_cookie_stands_for_it(guarded, capfd, caplog):
    assert guarded.get("/v1/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    page = guarded.get("/v1/jobs", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in")
    wrong = guarded.post("/sign-in", data={"token": "x" * 30})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    signed = guarded.post("/sign-in", data={"token": TOKEN})
    cookie = signed.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert TOKEN not in cookie
    assert guarded.get("/v1/jobs").status_code == 200
    guarded.post("/sign-out")
    assert guarded.get("/v1/jobs").status_code == 401
    assert TOKEN not in caplog.text + "".join(capfd.readouterr())


# Paths and links


@pytest.mark.parametrize("path", [
    "/v1/data-sets/../../../../etc/passwd", "/v1/data-sets/%2e%2e/card", "/v1/data-sets/..%2f..%2fetc/card",
    "/v1/data-sets/tiny/report/..%2fidentity.json", "/v1/data-sets/tiny/report/%2e%2e%2f%2e%2e%2fsecret.json",
    "/v1/data-sets/tiny/report/..%5csecret.json", "/v1/data-sets/tiny/report//etc/passwd",
    "/v1/data-sets/tiny/images/..%2f..%2fsecret", "/v1/data-sets/.service/card", "/v1/data-sets/./card",
    "/v1/data-sets/tiny%00/card", "/v1/jobs/..%2fsecret/log", "/v1/recipes/..%2f..%2fsecret", "/v1/models/../../etc",
    "/static/..%2f..%2fapp.py", "/static/%2e%2e/rendering.py", "//etc/passwd", "/v1/data-sets/\xff",
])
def test_paths_that_climb_lead_nowhere(settings, job_store, written, runs, path):
    (runs / "secret.json").write_text(SECRET)
    (runs / ".service" / "README.md").write_text(SECRET)
    with web_server(settings, job_store) as address:
        answer = raw(address, head(address, path.encode("latin-1").decode("latin-1")))
    status = answer.split()[1]
    assert status in (b"400", b"404", b"422"), answer[:200]
    assert SECRET.encode() not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("body", [
    JOB | {"data_set": name}
    for name in ("../up", "/abs", "a/b", ".service", "..", "", "-rf", "a\0", "exports", "a" * 99)
] + [
    {"kind": "export", "data_set": "tiny", "format": "coco", "out": "../out"},
    {"kind": "export", "data_set": "tiny", "format": "coco", "out": "x", "options": {"path": "/etc/passwd"}},
    {"kind": "evaluate", "data_set": "tiny", "real": "/etc"},
    {"kind": "evaluate", "data_set": "tiny", "encoder": "/etc"},
    {"kind": "nearest", "data_set": "tiny", "label": "beach", "k": 0, "real": "../up"},
    {"kind": "evaluate", "data_set": "tiny", "reference": "../../x"},
    {"kind": "push", "data_set": "tiny", "export": "../x", "repo": "me/x"},
    {"kind": "draw", "model": "/etc", "prompts": ["a"], "seeds": [1]},
    {"kind": "draw", "lora": "../x", "prompts": ["a"], "seeds": [1]},
    {"kind": "expand", "expander": "file", "options": {"path": "/etc/passwd"}},
])
def test_no_job_names_a_path(client, written, job_store, body):
    assert client.post("/v1/jobs", json=body).status_code == 422
    assert not job_store.list()


def test_links_are_not_followed(client, written, runs, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("README.md", "recipe.yaml", "index.html"):
        (outside / name).write_text(SECRET)
    (runs / "linked").symlink_to(outside)
    for name, target in (("README.md", "README.md"), ("report/index.html", "index.html")):
        (written / name).unlink()
        (written / name).symlink_to(outside / target)
    os.mkfifo(written / "report" / "pipe.html")
    assert [each["name"] for each in client.get("/v1/data-sets").json()["data_sets"]] == ["tiny"]
    for path in ("linked", "linked/card", "tiny/card", "tiny/report/index.html", "tiny/report/pipe.html"):
        answer = client.get(f"/v1/data-sets/{path}")
        assert answer.status_code == 404
        assert SECRET not in answer.text
    (written / "report").rename(written / "report-before")
    (written / "report").symlink_to(outside)
    assert client.get("/v1/data-sets/tiny/report").json()["files"] == []
    assert client.get("/v1/data-sets/tiny/report/index.html").status_code == 404


def test_deleting_a_link_deletes_nothing(client, written, runs, tmp_path):
    (written / "blocks" / "outside").symlink_to(tmp_path)
    (tmp_path / "kept.txt").write_text(SECRET)
    assert client.delete("/v1/data-sets/tiny", params={"confirm": "tiny"}).status_code == 204
    assert (tmp_path / "kept.txt").read_text() == SECRET


# Bodies


def test_a_long_body_is_refused_before_it_is_read(address):
    begin = head(address, "/v1/jobs", "POST", "Content-Type: application/json", "Content-Length: 99999999999")
    assert b" 413 " in raw(address, begin).partition(b"\r\n")[0]


def test_whoever_sends_a_body_that_is_too_long_hears_why(address):
    begin = head(address, "/v1/jobs", "POST", "Content-Type: application/json", f"Content-Length: {10 * 2**20}")
    for _ in range(20):  # closed on bytes that are on their way, a connection is reset, and the answer lost
        assert b" 413 " in raw(address, begin + b" " * (10 * 2**20)).partition(b"\r\n")[0]


def test_a_body_without_end_is_cut_off(address):
    begin = head(address, "/v1/jobs", "POST", "Content-Type: application/json", "Transfer-Encoding: chunked")
    with connected(address) as made:
        made.sendall(begin)
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        sent = 0
        try:
            while sent < 200:
                made.sendall(chunk)
                sent += 1
        except OSError:
            pass
        assert sent < 200


def test_a_slow_body_is_not_waited_for(address):
    begin = head(address, "/v1/jobs", "POST", "Content-Type: application/json", "Content-Length: 100")
    assert b" 408 " in raw(address, begin + b"{").partition(b"\r\n")[0]


def test_headers_that_never_end_are_not_waited_for(settings, job_store, monkeypatch):
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.5)
    with web_server(settings, job_store) as address:
        for begin in (b"", b"GET /v1/jobs HTTP/1.1\r\nHost: loc"):
            with connected(address) as made:
                made.sendall(begin)
                assert _end_of(made) == b""
        with connected(address) as made:  # and after a request that was answered
            made.sendall(head(address).replace(b"Connection: close\r\n", b""))
            assert b" 200 " in made.recv(65536)
            made.sendall(b"GET ")
            _end_of(made)


def _end_of(made):
    """What comes before the server ends a connection, which it does by a reset where it does not wait."""
    found = b""
    try:
        while part := made.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("content", [
    b"", b"[", b"null", b"[]", b"1", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000,
    json.dumps(JOB | {"recipe": {"generator": {"model": "ldm-ucm"}, "prompts": {"x": float("nan")}}}).encode(),
    json.dumps(JOB | {"recipe": {"generator": {"model": "ldm-ucm"}, "seed": 10**400}}).encode(),
    json.dumps(JOB | {"recipe": {"generator": {"model": "\ud800"}}}).encode(),
    b'{"kind": "run", "data_set": "coast", "recipe": {"generator": {"model": "ldm-ucm"}, "name": "\\u0000"}}',
])
def test_bodies_that_are_none_are_refused(client, job_store, content):
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) < 2000
    assert not job_store.list()


@pytest.mark.parametrize("lines", [
    ["Content-Length: 5", "Transfer-Encoding: chunked"], ["Content-Length: 5", "Content-Length: 6"],
    ["Content-Length: -1"], ["Transfer-Encoding: gzip, chunked"], ["X: " + "y" * 100_000], ["X : y"],
])
def test_requests_that_can_be_read_in_two_ways_are_refused(address, lines):
    answer = raw(address, head(address, "/v1/jobs", "POST", *lines) + b"0\r\n\r\n")
    assert answer.split()[1] in (b"400", b"431", b"501"), answer[:200]


# Pages in names and texts


PAGE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_a_page_in_a_name_is_a_name(client, written, runs):
    name = PAGE.replace("/", "")
    written.rename(runs / name)
    answer = client.get("/v1/data-sets")
    assert answer.headers["content-type"] == "application/json"
    assert [each["name"] for each in answer.json()["data_sets"]] == [name]
    assert len(client.get(f"/v1/data-sets/{name}/rows").json()["rows"]) > 3
    page = client.get("/", headers={"Accept": "text/html"})
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text
    said = client.get(f"/v1/data-sets/{PAGE[:20]}/rows", headers={"Accept": "text/html"})
    assert said.headers["content-type"] == "application/problem+json"


def test_a_page_in_a_class_or_a_prompt_is_a_text(client, job_store):
    recipe = {"generator": {"model": "ldm-ucm"}, "prompts": {"expander": "openai", "model": PAGE, "classes": [PAGE]}}
    for body in (JOB | {"recipe": recipe}, {"kind": "draw", "prompts": [PAGE], "seeds": [1]}):
        answer = client.post("/v1/jobs", json=body)
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/json"
        page = client.get(f"/jobs/{answer.json()['id']}", headers={"Accept": "text/html"})
        assert "<script>alert" not in page.text


def test_events_with_line_ends_are_one_event_each(client, job_store):
    job_store.create(parse_spec(JOB))
    lease = job_store.lease("test", 60, ["run"])
    job_store.append(lease, "block", {"label": "a\n\nevent: ended\ndata: {}\n\n", "index": 0})
    job_store.cancel(lease.job.id)
    job_store.release(lease, "test")
    text = client.get(f"/v1/jobs/{lease.job.id}/events").text
    assert text.count("event: ended") == 1 + text.count(r"event: ended\n")


# Many at once


def test_500_streams_left_open_keep_nobody_out(settings, job_store):
    job, _ = job_store.create(parse_spec(JOB))
    with web_server(settings, job_store) as address, ExitStack() as stack:
        asked = head(address, f"/v1/jobs/{job.id}/events").replace(b"Connection: close\r\n", b"")
        threads = threading.active_count()
        for _ in range(500):
            made = stack.enter_context(connected(address))
            made.sendall(asked)
        while not _well(address):  # those beyond the limit are answered, and their connections end
            pass
        text = httpx.get(f"{address}/metrics", timeout=30).text
        (count,) = [line.split()[1] for line in text.splitlines() if line.startswith("terrasynth_event_streams ")]
        assert 0 < float(count) <= settings.streams
        assert threading.active_count() <= threads + 10
        stack.close()
        while "terrasynth_event_streams 0.0" not in httpx.get(f"{address}/metrics", timeout=30).text:
            pass
        with httpx.stream("GET", f"{address}/v1/jobs/{job.id}/events", timeout=30) as answer:
            assert answer.status_code == 200


def _well(address):
    try:
        return httpx.get(f"{address}/healthz", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def test_a_form_that_was_cut_off_is_no_form(settings):
    """What came of it reads like a whole one, with another number."""
    answered, messages = [], [{"type": "http.request", "body": b"act=run&at=0.2", "more_body": True},
                              {"type": "http.disconnect"}]

    async def app(scope, receive, send):
        raise AssertionError("it was taken for all of it")

    async def receive():
        return messages.pop(0)

    async def send(message):
        answered.append(message)

    scope = {"type": "http", "method": "POST", "path": "/new", "headers": [(b"content-length", b"15")]}
    asyncio.run(BodyLimits(app, settings)(scope, receive, send))
    assert answered[0]["status"] == 400
    assert b"cut_body" in answered[1]["body"]
