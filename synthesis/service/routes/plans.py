"""`/v1/plans`: what a recipe would make, how long it would take, and what it would cost."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict

from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.routes.parameters import Wait
from terrasynth.synthesis.service.short_jobs import Waiting, done_in_time
from terrasynth.synthesis.service.specs import Name, PlanSpec

router = APIRouter(prefix="/v1/plans", tags=["jobs"])
_EXAMPLE: Any = {"recipe": {"generator": {"model": "ldm-ucm"}, "prompts": {"classes": ["beach", "harbor"]},
                       "target": {"per_class": 50, "max_attempts": 200}}}


class PlanRequest(BaseModel):
    """What is planned.

    Attributes:
        recipe: What would be made.
        data_set: Name of the data set that would go on; null for a new one.
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    recipe: dict[str, Any]
    data_set: Name | None = None


class PlanAnswer(BaseModel):
    """A plan.

    Attributes:
        job: Id of the job that made it.
        plan: Images, seconds, bytes and prompts; nothing was made.
    """

    job: str
    plan: dict[str, Any]


@router.post("", summary="Plan a recipe", responses={202: {
    "model": Waiting, "description": "It takes longer; look at the job"}})
async def plan(
    service: ServiceOf, response: Response, request: Annotated[PlanRequest, Body()], wait: Wait = None,
) -> PlanAnswer | Waiting:
    """Draws one batch to measure it, and makes nothing."""
    spec = PlanSpec(kind="plan", recipe=request.recipe, data_set=request.data_set)
    job = await done_in_time(service, response, spec, wait)
    return Waiting(job=job) if job.result is None else PlanAnswer(job=job.id, plan=job.result)
