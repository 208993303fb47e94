"""`/v1/prompts`: prompts of class names."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict

from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.routes.parameters import Wait
from terrasynth.synthesis.service.short_jobs import Waiting, done_in_time
from terrasynth.synthesis.service.specs import ExpandSpec, Expansion

router = APIRouter(prefix="/v1/prompts", tags=["prompts"])


class PromptsRequest(Expansion):
    """Which prompts are wanted."""

    model_config = ConfigDict(json_schema_extra={"examples": [
        {"expander": "grammar", "classes": ["beach", "harbor"], "count": 4, "seed": 7, "options": {"profile": "ucm"}}]})


class PromptsAnswer(BaseModel):
    """Prompts.

    Attributes:
        job: Id of the job that wrote them.
        prompts: Each with its text, label, captions and scene.
    """

    job: str
    prompts: list[dict[str, Any]]


@router.post("", summary="Write prompts", responses={202: {
    "model": Waiting, "description": "It takes longer; look at the job"}})
async def prompts(
    service: ServiceOf, response: Response, request: Annotated[PromptsRequest, Body()], wait: Wait = None,
) -> PromptsAnswer | Waiting:
    """The prompts that a recipe with these settings would draw, the first of each class."""
    spec = ExpandSpec(kind="expand", **request.model_dump())
    job = await done_in_time(service, response, spec, wait)
    return Waiting(job=job) if job.result is None else PromptsAnswer(job=job.id, prompts=job.result["prompts"])
