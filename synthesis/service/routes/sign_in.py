"""`/sign-in` and `/sign-out`: a browser shows the token once, and keeps a cookie that is void with it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.security import COOKIE, SIGN_IN, equal, session_of

DAYS, PAUSE_SECONDS = 30, 0.5
router = APIRouter(include_in_schema=False)


@router.post(SIGN_IN, status_code=303, summary="Sign in", response_class=RedirectResponse)
async def sign_in(service: ServiceOf, request: Request, token: Annotated[str, Form(max_length=4096)]
                  ) -> Response:
    """Sets the cookie and leads to the first page."""
    known = service.settings.token
    if known is not None and not equal(token.strip(), known):
        await asyncio.sleep(PAUSE_SECONDS)
        said = "this is not the token of the server; whoever started it has it"
        if "text/html" in request.headers.get("accept", ""):
            return render(request, "sign_in.html.j2", 401, message=said)
        raise Problem(401, "wrong_token", said)
    answer = RedirectResponse("/", 303)
    if known is not None:
        answer.set_cookie(COOKIE, session_of(known), max_age=DAYS * 86400, httponly=True, samesite="strict",
                          secure=request.url.scheme == "https")
    return answer


@router.post("/sign-out", status_code=303, summary="Sign out", response_class=RedirectResponse)
def sign_out() -> RedirectResponse:
    """Removes the cookie."""
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
