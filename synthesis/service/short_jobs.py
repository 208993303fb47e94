"""Waiting for the result of a short job, at the cost of a coroutine."""

from __future__ import annotations

from typing import Literal

import anyio.to_thread
from fastapi import Response
from pydantic import BaseModel

from terrasynth.synthesis.service.context import Service
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.specs import JobSpec
from terrasynth.synthesis.service.states import State


class Waiting(BaseModel):
    """A result that takes longer than the client waits.

    Attributes:
        job: The job, to be looked at again.
        status: Always "waiting".
    """

    job: Job
    status: Literal["waiting"] = "waiting"


async def done_in_time(service: Service, response: Response, spec: JobSpec, wait: float | None) -> Job:
    """A short job that is created here, ended if it does so in time; the status is 202 where it does not.

    Args:
        response: Of the request, for the status.
        wait: Most seconds; None for the server's own limit.

    Raises:
        InputError: The job cannot be done.
        Problem: It failed or was canceled.
    """
    made, _ = await anyio.to_thread.run_sync(service.create, spec)
    job = await result_of(service, made, wait)
    if job.result is None:
        response.status_code = 202
    return job


async def result_of(service: Service, job: Job, wait: float | None) -> Job:
    """A short job, ended if it does so in time.

    Args:
        wait: Most seconds; None for the server's own limit.

    Returns:
        The job with its result, or as it is when the time is over.

    Raises:
        Problem: It failed or was canceled.
    """
    await service.streams.ended(job.id, service.settings.wait_seconds if wait is None else wait)
    found = await anyio.to_thread.run_sync(service.store.get, job.id)
    if found.state in (State.FAILED, State.SET_ASIDE, State.CANCELED):
        raise Problem(422, "job_failed", found.error or f"job {job.id} is {found.state}; /v1/jobs/{job.id}/log has "
                      "what it printed")
    return found
