"""What every route works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from terrasynth.synthesis.service.data_sets import DataSets
from terrasynth.synthesis.service.metrics import Metrics
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.service.streams import Streams

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore


@dataclass(frozen=True)
class Service:
    """What every route works with.

    Attributes:
        settings: What the server was started with.
        store: The jobs.
        data_sets: What lies in its folder.
        streams: Its open streams of events.
        metrics: What it counts.
    """

    settings: ServiceSettings
    store: JobStore
    data_sets: DataSets
    streams: Streams
    metrics: Metrics

    @property
    def places(self) -> Places:
        """What requests may name."""
        return Places(self.settings.models, self.settings.data, self.settings.endpoints)


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceOf = Annotated[Service, Depends(_service)]
"""Type of a route's parameter that gets the `Service`."""
