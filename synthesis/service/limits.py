"""Bodies have a longest length and a longest time in which they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from terrasynth.synthesis.service.problems import Problem, problem_response
from terrasynth.synthesis.service.settings import ServiceSettings

TOO_LONG = 413
CLOSE = {"Connection": "close"}  # what is still on its way is not read
READ_AWAY_BYTES, READ_AWAY_SECONDS = 16 * 2**20, 5.0
"""How much of a body that is refused is read and dropped, and for how long: a connection that is closed on bytes on
their way is reset, and the client may lose the answer that says why."""


class BodyLimits:
    """Refuses bodies that are too long or too slow, before the application sees any of them.

    Args:
        app: What answers the others; it gets the whole body at once.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(Headers(scope=scope), receive)
        except Problem as problem:
            if problem.status == TOO_LONG:
                await _read_away(Headers(scope=scope), receive)
            await problem_response(problem)(scope, receive, send)
            return
        await self._app(scope, _given(body, receive), send)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy before us might believe the other one, and take the end of this request for another.
            raise Problem(400, "two_lengths", "the request tells the length of its body in two ways; send either "
                          "Content-Length or Transfer-Encoding", CLOSE)
        most = self._settings.body_bytes
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > most:
            raise _too_long(most)
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":  # what came of a form would be taken for all of it
                        raise Problem(400, "cut_body", "the connection ended before the body did; send it again", CLOSE)
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise _too_long(most)
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise Problem(408, "slow_body", f"the body did not arrive within {self._settings.body_seconds:g} s; send "
                          "it at once", CLOSE) from None
        return b"".join(parts)


async def _read_away(headers: Headers, receive: Receive) -> None:
    """Read a body that is not much too long, where its length was told."""
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length[:20]) > READ_AWAY_BYTES:
        return
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(READ_AWAY_SECONDS):
            while size <= READ_AWAY_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _too_long(most: int) -> Problem:
    return Problem(TOO_LONG, "long_body", f"the body has more than {most:,} bytes; send less at once", CLOSE)


def _given(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A `receive` that gives the body, then what comes after it."""
    left = [body]

    async def receive_body() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return receive_body
