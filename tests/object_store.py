"""A real S3 server (moto) on the loopback address, which fails on demand.

    with serving() as store:                 # store.url is the endpoint; AWS_* variables name it
        store.faults = random_faults(0, 1 / 3)

Faults are decided for each request by its number, method and path, before the server sees it or after.
"""

from __future__ import annotations

import io
import os
import random
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

BUCKET, ACCOUNT = "bucket", "123456789012"  # the account is moto's own
KINDS = ("error", "slow down", "cut", "lost answer", "short answer")
"""500; 503 SlowDown; no answer, and nothing done; done, and no answer; an answer that ends too early."""
Faults = Callable[[int, str, str], str | None]
_ERRORS = {"error": ("500 Internal Server Error", "InternalError"), "slow down": ("503 Slow Down", "SlowDown"),
           "refused": ("403 Forbidden", "AccessDenied")}


class ObjectStore:
    """The server: how it fails, and what it was asked.

    Attributes:
        url: Its endpoint.
        faults: Decides what goes wrong, one of `KINDS`, or "refused".
        asked: "METHOD path?query" of every request, in order.
        failed: How many of them were made to fail, by kind.
        sent: Bytes of answers, of those that were not made to fail.
        before: Called with method and path before a request is seen, for what another process may do then.
    """

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self.url, self.faults, self.asked = "", None, list[str]()
        self.sent = 0
        self.failed = dict.fromkeys(KINDS, 0)
        self.before: Callable[[str, str], None] | None = None
        self._app, self._lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def __call__(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if self.before is not None:
            self.before(method, path)
        with self._lock:
            self.asked.append(f"{method} {path}" + (f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""))
            kind = self.faults(len(self.asked) - 1, method, path) if self.faults else None
            if kind is not None:
                self.failed[kind] = self.failed.get(kind, 0) + 1
        if kind is None:
            answer = b"".join(self._app(environ, start_response))
            with self._lock:
                self.sent += len(answer)
            return [answer]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if kind in _ERRORS:
            status, code = _ERRORS[kind]
            start_response(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>as asked for</Message></Error>".encode()]
        if kind == "cut":
            return _cut(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        if kind == "lost answer" or method == "HEAD":
            b"".join(self._app(environ, lambda *_: None))
            return _cut(environ)
        answer = b"".join(self._app(environ, start_response))
        return _short(environ, answer)

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """What the bucket holds below a prefix, by key without it; not asked over the network."""
        return {name.removeprefix(prefix): key.value for name, key in list(_bucket().keys.items())
                if name.startswith(prefix)}


    def remove(self, which: Callable[[str], bool]) -> None:
        """Take objects away behind everybody's back."""
        keys = _bucket().keys
        for name in [name for name in keys if which(name)]:
            keys.pop(name)

    def overwrite(self, name: str, data: bytes) -> None:
        """Give an object another content behind everybody's back."""
        from moto.backends import get_backend

        get_backend("s3")[ACCOUNT]["aws"].put_object(BUCKET, name, data)


def _bucket():
    from moto.backends import get_backend

    return get_backend("s3")[ACCOUNT]["aws"].buckets[BUCKET]


def _cut(environ):
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return [b""]


def _short(environ, answer):
    yield answer[:len(answer) // 2]
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def random_faults(seed: int, share: float, most: int | None = None, kinds: tuple[str, ...] = KINDS) -> Faults:
    """Faults at random, a share of all requests, `most` in all."""
    draws, left = random.Random(seed), [float("inf") if most is None else most]

    def decide(_number: int, _method: str, _path: str) -> str | None:
        if left[0] <= 0 or draws.random() >= share:
            return None
        left[0] -= 1
        return draws.choice(kinds)

    return decide


@contextmanager
def serving() -> Iterator[ObjectStore]:
    """Serve from threads of this process, with an empty bucket; drivers find it by the usual variables."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    from terrasynth.synthesis.core.storage.store import STORES as stores

    class Quiet(WSGIRequestHandler):
        def log(self, *_):
            """Nothing: what was asked is in `asked`."""

        def run_wsgi(self):
            try:
                super().run_wsgi()
            except (OSError, AssertionError):  # a connection that was cut, by the server or by a kill
                self.close_connection = True

    store = ObjectStore()
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=Quiet)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    variables = {"AWS_ENDPOINT_URL": store.url, "AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret",
                 "AWS_DEFAULT_REGION": "us-east-1"}
    with patch.dict(os.environ, variables), patch.dict(stores, clear=True):
        try:
            empty(store)
            yield store
        finally:
            server.shutdown()
            server.server_close()


def empty(store: ObjectStore) -> None:
    """Make the bucket anew, with nothing in it."""
    from moto.backends import get_backend

    for account in get_backend("s3").values():
        account["aws"].reset()
    urllib.request.urlopen(urllib.request.Request(f"{store.url}/{BUCKET}", method="PUT")).close()


def content(data: bytes) -> tuple[io.BytesIO, int]:
    """Bytes as a store takes them."""
    return io.BytesIO(data), len(data)


@pytest.fixture(scope="module")
def store_server():
    """One server for the tests of a module."""
    with serving() as found:
        yield found


@pytest.fixture
def s3(store_server, monkeypatch):
    """The server, empty and without faults; a client that waits little."""
    from terrasynth.synthesis.core.storage import store

    store_server.faults = store_server.before = None
    empty(store_server)
    store_server.asked.clear()
    store_server.failed = dict.fromkeys(KINDS, 0)
    monkeypatch.setattr(store, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(store, "LONGEST_WAIT", 0.02)
    return store_server
