"""The web application; it draws nothing itself and loads no model."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import anyio.to_thread
import pyarrow as pa
from fastapi import FastAPI

from terrasynth.synthesis.service.attempts import UnknownRowError
from terrasynth.synthesis.service.context import Service
from terrasynth.synthesis.service.data_sets import BusyError, DataSets, UnknownDataSetError
from terrasynth.synthesis.service.limits import BodyLimits
from terrasynth.synthesis.service.metrics import Counted, Metrics
from terrasynth.synthesis.service.openapi import described
from terrasynth.synthesis.service.page import ROUTERS as PAGES
from terrasynth.synthesis.service.page import error_page
from terrasynth.synthesis.service.problems import install_problems
from terrasynth.synthesis.service.records import ConflictError, UnknownJobError
from terrasynth.synthesis.service.routes import ROUTERS
from terrasynth.synthesis.service.security import Security
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.service.streams import Streams

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore

THREADS = 8  # requests that read files or the store at once; each thread keeps some memory for good
ERRORS: Mapping[type[Exception], tuple[int, str]] = {
    UnknownJobError: (404, "unknown_job"),
    UnknownDataSetError: (404, "unknown_data_set"),
    UnknownRowError: (404, "unknown_row"),
    ConflictError: (409, "conflict"),
    BusyError: (409, "busy"),
}


def create_app(settings: ServiceSettings, store: JobStore) -> FastAPI:
    """Make the application.

    Raises:
        InputError: The settings would leave the server open to others.
    """
    settings.check()
    streams = Streams(store, settings.streams)
    service = Service(settings, store, DataSets(settings.runs, store), streams, Metrics(store, streams))
    # The documentation pages of FastAPI load their scripts from elsewhere.
    app = FastAPI(title="TerraSynth", version=version("terrasynth"), docs_url=None, redoc_url=None,
                  openapi_url="/v1/openapi.json", lifespan=_lifespan)
    app.state.service = service
    for router in (*ROUTERS, *PAGES):
        app.include_router(router)
    install_problems(app, ERRORS, (*ROUTERS, *PAGES), error_page)
    app.openapi = functools.partial(described, app)  # type: ignore[method-assign]
    # The last one added is asked first: nothing of a request is read that may not be made.
    app.add_middleware(BodyLimits, settings=settings)
    app.add_middleware(Security, settings=settings)
    app.add_middleware(Counted, metrics=service.metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    service: Service = app.state.service
    yield
    await service.streams.close()
    service.data_sets.close()
