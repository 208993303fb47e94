"""What a person does to a job: wait for it, cancel it, take it up again, read its log."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.page.pages import address_of, page_router, see_other
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.page.typed import TypedForm, first, key_of
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.routes import data_sets, jobs
from terrasynth.synthesis.service.routes.parameters import DataSetName, JobId
from terrasynth.synthesis.service.specs import RunSpec
from terrasynth.synthesis.service.states import ENDED

router = page_router()


@router.get("/jobs/{job_id}")
def job(request: Request, service: ServiceOf, job_id: JobId) -> Response:
    """A job; that of a data set that is there leads to it."""
    found = service.store.get(job_id)
    if _has_page(service, found):
        return see_other(address_of(found.data_set or ""))
    return render(request, "job.html.j2", job=found, working=found.state not in ENDED)


@router.post("/jobs/{job_id}/cancel")
def cancel(service: ServiceOf, job_id: JobId) -> Response:
    """Stop after the block that is being made."""
    return see_other(f"/jobs/{jobs.cancel(service, job_id).id}")


@router.post("/jobs/{job_id}/retry")
def retry(service: ServiceOf, job_id: JobId) -> Response:
    """Go on where it was."""
    return see_other(f"/jobs/{jobs.retry(service, job_id).id}")


@router.get("/jobs/{job_id}/log")
def log(request: Request, service: ServiceOf, job_id: JobId) -> Response:
    """What its processes printed."""
    text = bytes(jobs.log(service, job_id).body).decode()
    return render(request, "log.html.j2", job=service.store.get(job_id), log=text)


@router.post("/data-sets/{name}/run-again")
def run_again(service: ServiceOf, name: DataSetName, form: TypedForm) -> Response:
    """Go on with a data set by its own recipe: what has changed beside it, such as a review, is taken up."""
    made, _ = service.create(RunSpec(kind="run", data_set=name), key=key_of(form))
    return see_other(f"/jobs/{made.id}")


@router.post("/data-sets/{name}/delete")
def delete(service: ServiceOf, name: DataSetName, form: TypedForm) -> Response:
    """Remove a data set whose name was typed."""
    data_sets.delete(service, name, first(form, "confirm"))
    return see_other("/")


def _has_page(service: Service, found: Job) -> bool:
    return found.kind == "run" and found.data_set in service.data_sets.names()
