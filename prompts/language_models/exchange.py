"""One request to an OpenAI-compatible endpoint, within limits of bytes and time whatever the other side does.

The request runs on an event loop of its own in a thread of its own: only there can a wait for a connection, for
headers or for the body of an error be ended from outside, and a notebook's own loop is left alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_ANSWER = 4 * 2**20
"""Bytes of an answer."""

LARGEST_REFUSAL = 64 * 2**10
"""Bytes that are read of an answer that refuses; the rest is not looked at."""

LARGEST_HEADERS = 64 * 2**10
"""Bytes of the headers of an answer."""

WHOLE = 3
"""The whole exchange takes at most so many times the time limit: connection, first byte and rest have one each."""

_READABLE = frozenset({"", "identity", "gzip", "deflate"})  # others can unpack to far more than they weigh


class Refusal(Exception):
    """The endpoint answered with another status than success.

    Attributes:
        headers: The headers, by lower-case name.
        body: The first `LARGEST_REFUSAL` bytes of the body.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status, self.headers, self.body = status, headers, body


class Failure(Exception):
    """There is no whole answer.

    Attributes:
        sent: Whether the request may have reached the endpoint.
    """

    def __init__(self, problem: str, sent: bool) -> None:
        super().__init__(problem)
        self.sent = sent


@dataclass(frozen=True)
class Address:
    """Where to ask.

    Attributes:
        url: Address up to /v1.
        timeout: Seconds for a connection, for the first byte, and for the rest; `WHOLE` times that in all.
    """

    url: str
    key: str
    timeout: float


def exchange(address: Address, body: Mapping[str, Any]) -> bytes:
    """Send one request and return the whole body of a successful answer.

    Raises:
        Refusal: The endpoint answers with another status, a redirect included: nothing is sent anywhere else.
        Failure: No connection, no whole answer in time, or more bytes than the limits.
    """
    found: list[bytes | BaseException] = []

    def work() -> None:
        try:
            found.append(asyncio.run(_timed(address, body)))
        except BaseException as error:  # handed to the caller's thread, whatever it is
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(WHOLE * address.timeout + 30)  # the loop ends by itself; a name server that hangs may hold it up
    outcome = found[0] if found else _too_slow(address)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def _timed(address: Address, body: Mapping[str, Any]) -> bytes:
    try:
        async with asyncio.timeout(WHOLE * address.timeout):
            return await _exchange(address, body)
    except TimeoutError:
        raise _too_slow(address) from None


async def _exchange(address: Address, body: Mapping[str, Any]) -> bytes:
    import openai

    fields = dict(body)
    model, messages = fields.pop("model"), fields.pop("messages")
    http = openai.DefaultAsyncHttpxClient(
        follow_redirects=False, timeout=address.timeout, event_hooks={"response": [_checked]}
    )
    client = openai.AsyncOpenAI(
        api_key=address.key, base_url=address.url, timeout=address.timeout, max_retries=0, http_client=http
    )
    try:
        async with client, client.chat.completions.with_streaming_response.create(
            model=model, messages=messages, extra_body=fields, extra_headers={"Accept-Encoding": "identity"}
        ) as response:
            return await _body(response.iter_bytes(), address)
    except openai.APITimeoutError as error:
        sent = type(error.__cause__).__name__ != "ConnectTimeout"
        raise Failure(f"no answer in {address.timeout:g} s", sent) from None
    except openai.APIConnectionError as error:
        cause = error.__cause__ or error
        if isinstance(cause, Refusal | Failure):
            raise cause from None
        raise Failure(f"no connection ({cause})", sent=type(cause).__name__ != "ConnectError") from None


async def _checked(response: Any) -> None:  # noqa: ANN401 - of the HTTP library that openai brings
    """Look at status and headers before anybody reads the body.

    Raises:
        Refusal: Another status than success, with as much of the body as is read.
        Failure: The headers are too many, or the body is packed in a way that cannot be unpacked within limits.
    """
    size = sum(len(name) + len(value) for name, value in response.headers.raw)
    if size > LARGEST_HEADERS:
        raise Failure(f"headers of {size} bytes, where {LARGEST_HEADERS} are the most", sent=True)
    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed not in _READABLE:
        raise Failure(f"an answer packed as {packed[:20]!r}, which was not asked for", sent=True)
    if not response.is_success:
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) >= LARGEST_REFUSAL:
                break
        headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
        raise Refusal(response.status_code, headers, body[:LARGEST_REFUSAL])


async def _body(chunks: Any, address: Address) -> bytes:  # noqa: ANN401 - an asynchronous iterator of bytes
    data = bytearray()
    try:
        async with asyncio.timeout(address.timeout):
            async for chunk in chunks:
                data += chunk
                if len(data) > LARGEST_ANSWER:
                    raise Failure(f"an answer of more than {LARGEST_ANSWER} bytes", sent=True)
    except TimeoutError:
        raise Failure(f"an answer that did not end in {address.timeout:g} s", sent=True) from None
    except Failure:
        raise
    except Exception as error:  # whatever the transport of the installed version raises
        raise Failure(f"an answer cut off after {len(data)} bytes ({type(error).__name__})", sent=True) from None
    return bytes(data)


def _too_slow(address: Address) -> Failure:
    return Failure(f"no whole answer in {WHOLE * address.timeout:g} s", sent=True)
