"""`/v1/jobs`: made once, looked at, canceled, retried, followed."""

from __future__ import annotations

import os
import shutil
from typing import Annotated, Literal

import anyio.to_thread
from fastapi import APIRouter, Body, Header, Path, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from terrasynth.prompts.addresses import shown
from terrasynth.synthesis.service import places
from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.event_stream import MEDIA_TYPE, EventStreamResponse
from terrasynth.synthesis.service.files import read_file
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.routes.parameters import IdempotencyKey, JobId
from terrasynth.synthesis.service.specs import JobSpec
from terrasynth.synthesis.service.states import ENDED, State

LONGEST_LOG, LARGEST_IMAGE = 2**20, 64 * 2**20
Kind = Literal["run", "evaluate", "export", "push", "plan", "draw", "expand", "nearest"]
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_EXAMPLES = {
    "run": {"summary": "Make a data set", "value": {"kind": "run", "data_set": "coast", "recipe": {
        "generator": {"model": "ldm-ucm"}, "prompts": {"classes": ["beach", "harbor"]},
        "filters": [{"kind": "alignment", "pass_real": 0.95}], "target": {"per_class": 50, "max_attempts": 200}}}},
    "go on": {"summary": "Go on with a data set", "value": {"kind": "run", "data_set": "coast"}},
    "export": {"summary": "Export it", "value": {
        "kind": "export", "data_set": "coast", "format": "webdataset", "out": "coast-wds"}},
    "push": {"summary": "See what a push would send", "value": {
        "kind": "push", "data_set": "coast", "repo": "me/coast", "dry_run": True}},
}
_EVENT = {"type": "object", "required": ["id", "event", "data"], "properties": {
    "id": {"type": "string"}, "event": {"type": "string"},
    "data": {"type": "string", "contentMediaType": "application/json"}}}


class JobPage(BaseModel):
    """Some jobs, the newest first.

    Attributes:
        jobs: At most as many as were asked for.
        next: What `before` has to be for the next page; null where this is the last.
    """

    jobs: list[Job]
    next: str | None = Field(examples=["01h9v3xk2m7qf8r5t6w0y1z2a3"])


@router.post("", status_code=201, summary="Create a job", responses={200: {
    "model": Job, "description": "The job that the same Idempotency-Key made before"}})
def create(
    service: ServiceOf, response: Response, spec: Annotated[JobSpec, Body(openapi_examples=_EXAMPLES)],
    key: IdempotencyKey = None, priority: Annotated[int, Query(ge=-1000, le=1000)] = 0,
) -> Job:
    """The answer comes when the job is durable: from then on nothing loses it.

    A recipe names models by embedded name, by Hub id, or by name inside the server's `--models`; data by name inside
    its `--data`; never by a path.
    """
    job, new = service.create(spec, priority=priority, key=key)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.get("", summary="List jobs")
def list_jobs(
    service: ServiceOf, state: State | None = None, kind: Kind | None = None,
    data_set: Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$")] = None,
    before: Annotated[str | None, Query(pattern="^[0-9a-z]{26}$", description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobPage:
    """The newest first."""
    found = service.store.list(state=state, kind=kind, data_set=data_set, before=before, limit=limit + 1)
    more = len(found) > limit
    return JobPage(jobs=list(found[:limit]), next=found[limit - 1].id if more else None)


@router.get("/{job_id}", summary="Look at a job")
def get(service: ServiceOf, job_id: JobId) -> Job:
    """Its state, how far it is, and what it gave."""
    return service.store.get(job_id)


@router.post("/{job_id}/cancel", summary="Cancel a job")
def cancel(service: ServiceOf, job_id: JobId) -> Job:
    """A job that waits ends at once; one that is at work ends after the block it is at, and keeps what it has."""
    return service.store.cancel(job_id)


@router.post("/{job_id}/retry", summary="Retry a job")
def retry(service: ServiceOf, job_id: JobId) -> Job:
    """Puts a job that ended without success into the queue again; it goes on where it was."""
    return service.store.retry(job_id)


@router.delete("/{job_id}", status_code=204, summary="Forget a job")
def delete(service: ServiceOf, job_id: JobId) -> Response:
    """A job that has ended, its events, its log and what it drew by itself; its data set stays."""
    service.store.delete(job_id)
    places.log_file(service.settings.runs, job_id).unlink(missing_ok=True)
    shutil.rmtree(places.draws_folder(service.settings.runs, job_id), ignore_errors=True)
    return Response(status_code=204)


# FastAPI 0.165 looks for the status in the signature of the class of the answer unless it is told.
@router.get("/{job_id}/events", summary="Follow a job", status_code=200, response_class=EventStreamResponse,
            responses={
    200: {"description": "Server-sent events: `id` is the number of the event, `event` its type, `data` JSON with "
          "`number`, `type`, `time` and `data`. The stream ends with the job.", "content": {MEDIA_TYPE: {
              "schema": _EVENT, "example": 'id: 1\nevent: queued\ndata: {"number": 1, "type": "queued", '
              '"time": "2026-01-01T00:00:00+00:00", "data": {}}\n\n'}}},
    204: {"description": "The job has ended and there are no further events; clients do not come back"},
})
async def events(
    service: ServiceOf, job_id: JobId,
    last: Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=2**31 - 1)] = None,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="As Last-Event-ID, which wins.")] = 0,
) -> Response:
    """Goes on after the event of a number, without a gap and without one twice."""
    known = after if last is None else last

    def begin() -> bool:
        job = service.store.get(job_id)
        if known > 0 and not service.store.events(job_id, known - 1, 1):
            raise Problem(422, "unknown_event", f"job {job_id} has no event {known}; leave Last-Event-ID out to get "
                          "all of them")
        return job.state in ENDED and not service.store.events(job_id, known, 1)

    leave = service.streams.take_place()
    try:
        over = await anyio.to_thread.run_sync(begin)
    except BaseException:
        leave()
        raise
    if over:
        leave()
        return Response(status_code=204)
    return EventStreamResponse(service.streams.follow(job_id, known), leave)


@router.get("/{job_id}/log", summary="What a job printed", response_class=PlainTextResponse)
def log(service: ServiceOf, job_id: JobId) -> PlainTextResponse:
    """The last MiB of what its processes printed, in all attempts."""
    service.store.get(job_id)
    try:
        with places.log_file(service.settings.runs, job_id).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_LOG))
            text = file.read(LONGEST_LOG).decode(errors="replace")
    except FileNotFoundError:
        text = ""
    return PlainTextResponse(shown(text))


@router.get("/{job_id}/images/{number}", summary="An image of a job that draws", response_class=Response,
            responses={200: {"content": {"image/png": {}}}})
def image(service: ServiceOf, job_id: JobId, number: Annotated[int, Path(ge=0, le=999)]) -> Response:
    """By its number, from 0, in the order of the prompts."""
    service.store.get(job_id)
    folder = places.draws_folder(service.settings.runs, job_id)
    found = read_file(folder / f"{number}.png", LARGEST_IMAGE)
    if found is None:
        raise Problem(404, "unknown_image", f"job {job_id} has no image {number}; look at its result for how many "
                      "there are")
    return Response(found, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})
