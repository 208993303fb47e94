"""`/healthz`: is the server there?"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter()


class Health(BaseModel):
    """How the server is.

    Attributes:
        status: "ok".
    """

    status: Literal["ok"] = "ok"


@router.get("/healthz", summary="Is the server there?", tags=["operation"])
def healthz() -> Health:
    """Answers without a token."""
    return Health()
