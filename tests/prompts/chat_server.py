"""A real HTTP server that speaks /v1/chat/completions and misbehaves as it is told.

Good answers count up, so that the same request asked twice gives other captions: equal prompts mean that nobody asked.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROMPT_TOKENS, COMPLETION_TOKENS = 100, 50


class ChatServer(ThreadingHTTPServer):
    """What was asked and answered.

    Attributes:
        script: What the next requests get; good answers follow when it is empty.
        requests: Bodies of all requests.
        headers: Their headers.
        paid: Requests that were answered with usage, in full.
        stopped: Ends what never answers.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Callable[[_Handler, dict[str, Any]], None]] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paid: list[dict[str, Any]] = []
        self.written = 0
        self.stopped = threading.Event()
        self.mutex = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.mutex:
            self.server.requests.append({"path": self.path, **body})
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
            act = self.server.script.pop(0) if self.server.script else good
        act(self, body)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Silence."""

    def send(self, status: int, data: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def complete(self, body: dict[str, Any], content: str | None, reason: str = "stop", usage: bool = True) -> None:
        answer: dict[str, Any] = {
            "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content}}],
        }
        if usage:
            answer["usage"] = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS,
                               "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS}
        with self.server.mutex:
            self.server.paid.append(body)
        self.send(200, json.dumps(answer).encode())


def wanted(body: dict[str, Any]) -> tuple[str, int]:
    """The name of the class and the number of captions that a request asks for."""
    user = body["messages"][1]["content"]
    return re.search(r"Scene class: (.*?)(?: or .*)?\.", user)[1], len(re.findall(r"^\d+\. ", user, re.MULTILINE))


def captions(handler: _Handler, name: str, count: int) -> list[str]:
    """New captions of a class, in digits that no other answer has."""
    with handler.server.mutex:
        first = handler.server.written
        handler.server.written += count
    return [f"A {name} with {number} white marks on it." for number in range(first, first + count)]


def good(handler: _Handler, body: dict[str, Any]) -> None:
    handler.complete(body, json.dumps({"captions": captions(handler, *wanted(body))}))


def without_usage(handler: _Handler, body: dict[str, Any]) -> None:
    handler.complete(body, json.dumps({"captions": captions(handler, *wanted(body))}), usage=False)


def saying(*texts: str) -> Callable[[_Handler, dict[str, Any]], None]:
    return lambda handler, body: handler.complete(body, json.dumps({"captions": list(texts)}))


def content(text: str | None, reason: str = "stop") -> Callable[[_Handler, dict[str, Any]], None]:
    return lambda handler, body: handler.complete(body, text, reason)


def too_few(handler: _Handler, body: dict[str, Any]) -> None:
    name, count = wanted(body)
    handler.complete(body, json.dumps({"captions": captions(handler, name, count // 2)}))


def half_json(handler: _Handler, body: dict[str, Any]) -> None:
    handler.complete(body, json.dumps({"captions": captions(handler, *wanted(body))})[:-20], "length")


def status(
    number: int, message: str = "no", code: str | None = None, **headers: str
) -> Callable[[_Handler, dict[str, Any]], None]:
    data = json.dumps({"error": {"message": message, "type": "x", "code": code}}).encode()
    return lambda handler, body: handler.send(number, data, **headers)


def half_answer(handler: _Handler, body: dict[str, Any]) -> None:
    """Says how long it will be and closes in the middle."""
    data = b'{"id": "x", "choices": [{"index": 0, "mess'
    handler.send(200, data, length=len(data) + 500)


def no_completion(handler: _Handler, body: dict[str, Any]) -> None:
    handler.send(200, b"<html>gateway</html>", Content_Type="text/html")


def silent(handler: _Handler, body: dict[str, Any]) -> None:
    handler.server.stopped.wait(30)


def trickle(handler: _Handler, body: dict[str, Any]) -> None:
    """A byte now and then, so that no read ever times out."""
    handler.send(200, b"", length=10_000)
    for _ in range(300):
        if handler.server.stopped.wait(0.05):
            return
        handler.wfile.write(b" ")
        handler.wfile.flush()


def hang_up(handler: _Handler, body: dict[str, Any]) -> None:
    """Closes without a byte."""


@contextmanager
def serving() -> Iterator[ChatServer]:
    server = ChatServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
