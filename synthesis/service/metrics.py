"""What a server counts, for Prometheus: requests, jobs by state, open streams, its own process."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore
    from terrasynth.synthesis.service.streams import Streams

UNKNOWN_ROUTE = "none"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _State(Collector):
    """Jobs by state and open streams, looked up when they are asked for."""

    def __init__(self, store: JobStore, streams: Streams) -> None:
        self._store, self._streams = store, streams

    @override
    def collect(self) -> Iterable[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("terrasynth_jobs", "Jobs by state.", labels=["state"])
        for state, count in self._store.counts().items():
            jobs.add_metric([state], count)
        yield jobs
        yield GaugeMetricFamily("terrasynth_event_streams", "Open streams of events.", value=self._streams.open)


class Metrics:
    """What a server counts."""

    def __init__(self, store: JobStore, streams: Streams) -> None:
        self._registry = CollectorRegistry()
        names = ("method", "route", "status")
        self._requests = Counter("terrasynth_requests", "Requests that were answered.", names, registry=self._registry)
        self._seconds = Histogram("terrasynth_request_seconds", "Seconds until an answer began.", ("route",),
                                  registry=self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(_State(store, streams))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method if method in METHODS else "other", route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All figures in the text format of Prometheus."""
        return generate_latest(self._registry)


class Counted:
    """Counts every request of an application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The route's template: paths themselves are without number, and so would the figures be.
                route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
                self._metrics.count(scope["method"], route, message["status"], time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, send_counted)
