"""The server around the application: connections that say nothing, or take nothing, are ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.service.security import MOST_HEADER_BYTES
from terrasynth.synthesis.service.settings import ServiceSettings

CONNECTIONS = 96  # beside the streams of events
HEADER_SECONDS, STALL_SECONDS, IDLE_SECONDS = 10.0, 60.0, 15


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits for a request, and for a client to take its answer, but not for ever.

    Uvicorn has a limit for idle connections alone: one that never ends its headers, or never reads, would stay.
    """

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._clear_deadline()
        elif self.conn.trailing_data[0] and self._deadline is None:
            self._await_headers()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self.resume_writing()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        self._stalled = self._stalled or self.loop.call_later(STALL_SECONDS, self.transport.abort)
        super().pause_writing()

    @override
    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _await_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class StreamingServer(uvicorn.Server):
    """A server whose open streams end with it: uvicorn waits for answers that are being sent, and these have no end."""

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: Any = self.config.app
        await app.state.service.streams.close()
        await super().shutdown(sockets)


def listening(settings: ServiceSettings) -> socket.socket:
    """A socket on the address of the settings.

    Raises:
        InputError: The address is taken, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((settings.host.strip("[]"), settings.port))
        made.listen(256)
    except OSError as error:
        made.close()
        raise InputError(f"cannot listen on {settings.host}:{settings.port}: {one_line(error)}; choose another --port, "
                         "or end what has it") from error
    return made


def make_server(app: FastAPI, settings: ServiceSettings) -> uvicorn.Server:
    """A server of the application with our limits, for `run(sockets=[listening(settings)])`.

    Args:
        app: What `create_app` made.
    """
    protocol: Any = PatientProtocol
    config = uvicorn.Config(
        app, http=protocol, ws="none", loop="asyncio", lifespan="on", log_level="warning", access_log=False,
        server_header=False, proxy_headers=False, timeout_keep_alive=IDLE_SECONDS, timeout_graceful_shutdown=5,
        limit_concurrency=CONNECTIONS + settings.streams, h11_max_incomplete_event_size=MOST_HEADER_BYTES,
    )
    return StreamingServer(config)


def serve(app: FastAPI, settings: ServiceSettings, on_start: Callable[[str], None] | None = None,
          beside: AbstractContextManager[None] | None = None) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM).

    Args:
        app: What `create_app` made.
        on_start: Is told the address when requests are taken.
        beside: Entered once the address is ours, and left at the end: work that goes on beside the server.

    Raises:
        InputError: The address is taken, or is none of this machine.
    """
    with listening(settings) as made, beside or nullcontext():
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        if on_start is not None:
            on_start(f"http://{host}:{made.getsockname()[1]}")
        make_server(app, settings).run(sockets=[made])
