"""`/healthz` and `/metrics`: for whoever keeps the server going."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from terrasynth.synthesis.service.context import ServiceOf

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    """How the server is.

    Attributes:
        status: Always "ok": a server that cannot reach its store of jobs does not answer so.
    """

    status: Literal["ok"] = "ok"


@router.get("/healthz", summary="Is the server well?")
def healthz(service: ServiceOf) -> Health:
    """Asks the store of jobs; needs no token."""
    service.store.counts()
    return Health()


@router.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
def metrics(service: ServiceOf) -> PlainTextResponse:
    """Requests, jobs by state, open streams, the server's process."""
    return PlainTextResponse(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
