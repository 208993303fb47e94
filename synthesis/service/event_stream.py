"""Server-sent events as an answer: numbered, so that a client that comes back goes on without a gap.

Source: the section "Server-sent events" of the HTML standard.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from terrasynth.synthesis.service.records import StoredEvent

MEDIA_TYPE = "text/event-stream"
RETRY_MS = 2000


class EventStreamResponse(Response):
    """Sends events until there are no more, or the client is gone.

    Args:
        events: What is new, again and again; nothing now and then, so that the connection is seen to live.
        leave: Is called when the stream has ended.
    """

    media_type = MEDIA_TYPE

    def __init__(self, events: AsyncGenerator[Sequence[StoredEvent]], leave: Callable[[], None]) -> None:
        super().__init__(b"", 200, {"X-Accel-Buffering": "no"}, MEDIA_TYPE)
        del self.headers["content-length"]
        self._events, self._leave = events, leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            await self._send_while_there(receive, send)
        finally:
            self._leave()

    async def _send_while_there(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send_all(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            results = await asyncio.gather(sending, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _send_all(self, send: Send) -> None:
        await _send(send, f"retry: {RETRY_MS}\n\n")
        try:
            async for events in self._events:
                await _send(send, "".join(map(encoded, events)) or ": nothing new\n\n")
        finally:
            await self._events.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def encoded(event: StoredEvent) -> str:
    """An event in the text format of a stream."""
    content = {"number": event.number, "type": event.type, "time": event.time.isoformat(), "data": event.data}
    return f"id: {event.number}\nevent: {event.type}\ndata: {json.dumps(content)}\n\n"


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
