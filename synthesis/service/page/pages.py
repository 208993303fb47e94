"""What all pages share: errors are pages, too, and files beside them are served by name."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import RedirectResponse, Response

from terrasynth.errors import UserError, one_line
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.service.data_sets import UnknownDataSetError
from terrasynth.synthesis.service.page.rendering import render, static_files
from terrasynth.synthesis.service.problems import Problem, problem_of
from terrasynth.synthesis.service.records import UnknownJobError

NOT_FOUND = (UnknownDataSetError, UnknownJobError)


class PageRoute(APIRoute):
    """A route whose errors are pages that say in one line what is wrong and what helps."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with errors turned into pages."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except NOT_FOUND as error:
                return error_page(request, 404, one_line(error))
            except (UserError, RunError, RequestValidationError, Problem) as error:
                problem = problem_of(error)
                return error_page(request, problem.status, problem.detail)

        return answer


def page_router() -> APIRouter:
    """A router for pages; they are no part of the interface for programs."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def see_other(address: str) -> RedirectResponse:
    """The answer to a form: a page that can be loaded again without sending the form again."""
    return RedirectResponse(address, 303)


def address_of(data_set: str) -> str:
    """The address of the page of a data set."""
    return f"/data-sets/{quote(data_set, safe='')}"


def error_page(request: Request, status: int, detail: str) -> Response:
    """A page that says what is wrong."""
    return render(request, "error.html.j2", status, status=status, detail=detail)


router = page_router()


@router.get("/sign-in")
def sign_in(request: Request) -> Response:
    """Where a browser shows the token once."""
    return render(request, "sign_in.html.j2", message="")


@router.get("/static/{name}")
def static_file(name: str, request: Request) -> Response:
    """A file of the page, by its name among those that are shipped."""
    known = static_files().get(name)
    if known is None:
        return Response("no such file", 404, media_type="text/plain")
    content, digest = known
    headers = {"ETag": f'"{digest}"', "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, headers=headers, media_type=kind)
