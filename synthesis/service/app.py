"""The web application; it draws nothing itself and loads no model."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI

from terrasynth.synthesis.service.context import Service
from terrasynth.synthesis.service.routes import ROUTERS
from terrasynth.synthesis.service.settings import ServiceSettings

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore


def create_app(settings: ServiceSettings, store: JobStore) -> FastAPI:
    """Make the application.

    Args:
        settings: What the server is started with.
        store: The jobs.

    Raises:
        InputError: The settings would leave the server open to others.
    """
    settings.check()
    # The documentation pages of FastAPI load their scripts from elsewhere.
    app = FastAPI(title="TerraSynth", version=version("terrasynth"), docs_url=None, redoc_url=None,
                  openapi_url="/v1/openapi.json")
    app.state.service = Service(settings, store)
    for router in ROUTERS:
        app.include_router(router)
    return app
