"""What every route works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from terrasynth.synthesis.service.settings import ServiceSettings

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore


@dataclass(frozen=True)
class Service:
    """What every route works with.

    Attributes:
        settings: What the server was started with.
        store: The jobs.
    """

    settings: ServiceSettings
    store: JobStore


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceOf = Annotated[Service, Depends(_service)]
"""Type of a route's parameter that gets the `Service`."""
