"""`/v1/plans`: what a recipe would make, how long it would take, and what it would cost."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict

from terrasynth.synthesis.service.admission import check_job
from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.routes.parameters import Wait
from terrasynth.synthesis.service.short_jobs import result_of
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


class Waiting(BaseModel):
    """A result that takes longer than the client waits.

    Attributes:
        job: The job, to be looked at again.
        status: Always "waiting".
    """

    job: Job
    status: Literal["waiting"] = "waiting"


@router.post("", summary="Plan a recipe", responses={202: {
    "model": Waiting, "description": "It takes longer; look at the job"}})
async def plan(
    service: ServiceOf, response: Response, request: Annotated[PlanRequest, Body()], wait: Wait = None,
) -> PlanAnswer | Waiting:
    """Draws one batch to measure it, and makes nothing."""
    spec = PlanSpec(kind="plan", recipe=request.recipe, data_set=request.data_set)

    def create() -> Job:
        check_job(spec, service.places, service.data_sets)
        return service.store.create(spec)[0]

    job = await result_of(service, await anyio.to_thread.run_sync(create), wait)
    if job.result is None:
        response.status_code = 202
        return Waiting(job=job)
    return PlanAnswer(job=job.id, plan=job.result)
