"""The routes, a subject a file; `ROUTERS` is what the app includes."""

from __future__ import annotations

from fastapi import APIRouter

from terrasynth.synthesis.service.routes import (
    data_sets,
    health,
    images,
    jobs,
    models,
    plans,
    prompts,
    recipes,
    reviews,
    rows,
    sign_in,
)

ROUTERS: tuple[APIRouter, ...] = tuple(
    each.router for each in (health, jobs, plans, data_sets, rows, reviews, models, recipes, prompts, images, sign_in)
)
