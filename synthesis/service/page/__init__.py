"""The page: what a person sees of the service, rendered here; our JavaScript only spares reloading it."""

from __future__ import annotations

from fastapi import APIRouter

from terrasynth.synthesis.service.page import (
    compare_page,
    data_set_pages,
    job_pages,
    new_page,
    pages,
    publish_page,
    review_page,
    threshold_page,
    try_page,
)
from terrasynth.synthesis.service.page.pages import error_page

__all__ = ["ROUTERS", "error_page"]

ROUTERS: tuple[APIRouter, ...] = (pages.router, data_set_pages.router, job_pages.router, new_page.router,
                                  threshold_page.router, try_page.router, compare_page.router,
                                  publish_page.router, review_page.router)
"""What the app includes beside the routes for programs."""
