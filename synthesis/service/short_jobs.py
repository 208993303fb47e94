"""Waiting for the result of a short job, at the cost of a coroutine."""

from __future__ import annotations

import anyio.to_thread

from terrasynth.synthesis.service.context import Service
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.states import State


async def result_of(service: Service, job: Job, wait: float | None) -> Job:
    """A short job, ended if it does so in time.

    Args:
        service: Of the request.
        job: As it was made.
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
