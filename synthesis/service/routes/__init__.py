"""The routes, a subject a file; `ROUTERS` is what the app includes."""

from __future__ import annotations

from fastapi import APIRouter

from terrasynth.synthesis.service.routes import health

ROUTERS: tuple[APIRouter, ...] = (health.router,)
