"""Errors as problem documents (RFC 9457), with the same lines as the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from terrasynth.errors import UserError, one_line
from terrasynth.prompts.addresses import shown
from terrasynth.synthesis.core.errors import RefusedError, RunError

MEDIA_TYPE = "application/problem+json"
SHOWN_MISTAKES, SHOWN_VALUE = 5, 120
# What Starlette and FastAPI only name.
_UNSAID = {
    HTTPStatus.BAD_REQUEST: "the body cannot be read as JSON; send a JSON object",
    HTTPStatus.NOT_FOUND: "there is nothing at this address; /v1/openapi.json lists what there is",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address takes no such method; /v1/openapi.json lists those that it takes",
}


class ProblemDocument(BaseModel):
    """A problem document.

    Attributes:
        type: Always "about:blank"; `code` tells problems apart.
        title: The phrase of the status.
        status: The HTTP status.
        detail: What is wrong and what helps, on one line.
        code: A word for programs.
        error: The same for clients of OpenAI's interface, on its routes alone.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "type": "about:blank", "title": "Not Found", "status": 404, "code": "unknown_data_set",
        "detail": "data set 'harbours' does not exist (did you mean 'harbors'?)",
    }]})

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str
    error: dict[str, Any] | None = None


class Problem(Exception):
    """An answer that is a problem document.

    Attributes:
        code: A word for programs.
        detail: What is wrong and what helps, on one line.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, dict(headers or {})


def problem_response(problem: Problem, openai: bool = False) -> Response:
    """The answer to a request that failed.

    Args:
        openai: Whether clients of OpenAI's interface read it, too.
    """
    detail = shown(" ".join(problem.detail.split()))
    content: dict[str, Any] = {
        "type": "about:blank", "title": HTTPStatus(problem.status).phrase, "status": problem.status,
        "detail": detail, "code": problem.code,
    }
    if openai:
        kind = "server_error" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
        content["error"] = {"message": detail, "type": kind, "param": None, "code": problem.code}
    return JSONResponse(content, problem.status, problem.headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """What an error means to a client."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return Problem(422, "invalid_request", _mistakes(error))
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        detail = _UNSAID.get(status, str(error.detail))
        return Problem(status, status.phrase.lower().replace(" ", "_"), detail, error.headers)
    if isinstance(error, UserError):
        return Problem(422, "invalid_input", one_line(error))
    if isinstance(error, RefusedError):
        return Problem(503, "unreadable", one_line(error))
    if isinstance(error, RunError):
        return Problem(409, "failed", one_line(error))
    return Problem(500, "unexpected", f"unexpected {type(error).__name__}; the log of the server has more")


def install_problems(
    app: FastAPI, further: Mapping[type[Exception], tuple[int, str]], routers: Sequence[APIRouter],
    page: Callable[[Request, int, str], Response],
) -> None:
    """Let every error of the application become a problem document, or a page where a browser asks for one.

    Args:
        further: Status and code of errors of other files.
        page: Makes a page of a status and what is wrong.
    """
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]

    def answer(request: Request, error: Exception) -> Response:
        known = next((each for kind, each in further.items() if isinstance(error, kind)), None)
        problem = problem_of(error) if known is None else Problem(*known, one_line(error))
        if isinstance(error, RequestValidationError) and _is_json_untold(request, error):
            problem.detail = ("the header Content-Type does not say that the body is JSON; send Content-Type: "
                              "application/json")
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:  # Starlette names those of the first route at the address
            found = [route.methods or () for route in routes if route.path_regex.match(request.url.path)]
            methods = {method for each in found for method in each}
            problem.headers = {"Allow": ", ".join(sorted(methods))}
        if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/"):
            shown_page = page(request, problem.status, problem.detail)
            shown_page.headers.update(problem.headers)
            return shown_page
        return problem_response(problem, request.url.path.startswith("/v1/images/"))

    for kind in (Problem, RequestValidationError, HTTPException, UserError, RunError, Exception, *further):
        app.add_exception_handler(kind, answer)


def _is_json_untold(request: Request, error: RequestValidationError) -> bool:
    """Whether a body was not read as JSON because no header says that it is."""
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    read = told.startswith("application/") and (told.endswith(("/json", "+json")))
    return not read and any(each["loc"] == ("body",) and each.get("input") is not None for each in error.errors())


def _mistakes(error: RequestValidationError) -> str:
    """What is wrong with a request, a part for each place."""
    found: dict[str, str] = {}
    for detail in error.errors():
        where, *inner = detail["loc"]
        place = ".".join(map(str, inner)) or {"body": "the body"}.get(str(where), str(where))
        place = place if where in ("body", "path") else f"{where} {place}"
        if detail["type"] == "missing":
            line = f"{place} is missing; it has to be given"
        elif detail["type"] == "json_invalid":  # its place is an offset, and its value says nothing
            line = f"the body is no JSON ({detail['ctx']['error']} at character {inner[0]}); send a JSON object"
        elif detail["type"] == "extra_forbidden":
            line = f"unknown key {place!r}; remove it"
        else:
            value = repr(detail.get("input"))
            value = value if len(value) <= SHOWN_VALUE else f"{value[:SHOWN_VALUE]}..."
            line = f"{place} {value} is wrong: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
        found.setdefault(place[:SHOWN_VALUE], line)
    lines = list(found.values())
    more = len(lines) - SHOWN_MISTAKES
    return "; ".join([*lines[:SHOWN_MISTAKES], *([f"and {more} more mistakes"] if more > 0 else [])])
