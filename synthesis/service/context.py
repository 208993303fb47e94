"""What every route works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from terrasynth.synthesis.service.admission import check_job
from terrasynth.synthesis.service.data_sets import DataSets
from terrasynth.synthesis.service.metrics import Metrics
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.service.specs import JobSpec
from terrasynth.synthesis.service.streams import Streams

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore


@dataclass(frozen=True)
class Service:
    """What every route works with."""

    settings: ServiceSettings
    store: JobStore
    data_sets: DataSets
    streams: Streams
    metrics: Metrics

    @property
    def places(self) -> Places:
        """What requests may name."""
        return self.settings.places

    def create(self, spec: JobSpec, *, priority: int = 0, key: str | None = None) -> tuple[Job, bool]:
        """Queue a job that a client may ask for; see `check_job` and `JobStore.create`.

        Raises:
            InputError: It names something that it may not name, or that does not exist.
            ConflictError: The key was used for another spec.
        """
        check_job(spec, self.places, self.data_sets)
        return self.store.create(spec, priority=priority, key=key)


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceOf = Annotated[Service, Depends(_service)]
"""Type of a route's parameter that gets the `Service`."""
