"""What a person does to a job: wait for it, cancel it, take it up again, read its log."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request
from starlette.responses import RedirectResponse, Response

from terrasynth.synthesis.service.admission import check_job
from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.page.pages import page_router
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.page.typed import Typed, typed_form
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.routes import data_sets, jobs
from terrasynth.synthesis.service.routes.parameters import DataSetName, JobId
from terrasynth.synthesis.service.specs import RunSpec
from terrasynth.synthesis.service.states import ENDED

SEE_OTHER = 303
router = page_router()


@router.get("/jobs/{job_id}")
def job(request: Request, service: ServiceOf, job_id: JobId) -> Response:
    """A job; that of a data set that is there leads to it."""
    found = service.store.get(job_id)
    if _has_page(service, found):
        return RedirectResponse(_page_of(found), SEE_OTHER)
    return render(request, "job.html.j2", job=found, working=found.state not in ENDED)


@router.post("/jobs/{job_id}/cancel")
def cancel(service: ServiceOf, job_id: JobId) -> Response:
    """Stop after the block that is being made."""
    return RedirectResponse(f"/jobs/{jobs.cancel(service, job_id).id}", SEE_OTHER)


@router.post("/jobs/{job_id}/retry")
def retry(service: ServiceOf, job_id: JobId) -> Response:
    """Go on where it was."""
    return RedirectResponse(f"/jobs/{jobs.retry(service, job_id).id}", SEE_OTHER)


@router.get("/jobs/{job_id}/log")
def log(request: Request, service: ServiceOf, job_id: JobId) -> Response:
    """What its processes printed."""
    text = bytes(jobs.log(service, job_id).body).decode()
    return render(request, "log.html.j2", job=service.store.get(job_id), log=text)


@router.post("/data-sets/{name}/run-again")
def run_again(service: ServiceOf, name: DataSetName, form: Annotated[Typed, Depends(typed_form)]) -> Response:
    """Go on with a data set by its own recipe: what has changed beside it, such as a review, is taken up."""
    spec = RunSpec(kind="run", data_set=name)
    check_job(spec, service.places, service.data_sets)
    made, _ = service.store.create(spec, key=form.get("key", ("",))[0][:64] or None)
    return RedirectResponse(f"/jobs/{made.id}", SEE_OTHER)


@router.post("/data-sets/{name}/delete")
def delete(service: ServiceOf, name: DataSetName, form: Annotated[Typed, Depends(typed_form)]) -> Response:
    """Remove a data set whose name was typed."""
    data_sets.delete(service, name, form.get("confirm", ("",))[0])
    return RedirectResponse("/", SEE_OTHER)


def _has_page(service: ServiceOf, found: Job) -> bool:
    return found.kind == "run" and found.data_set in service.data_sets.names()


def _page_of(found: Job) -> str:
    return f"/data-sets/{quote(found.data_set or '', safe='')}"
