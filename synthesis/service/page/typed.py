"""Forms as they were sent: every name with its values, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request

from terrasynth.synthesis.service.problems import Problem

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 20_000
Typed = Mapping[str, Sequence[str]]


async def typed_form(request: Request) -> Typed:
    """The form that a request brings.

    Raises:
        Problem: It is none, or has too many fields.
    """
    if not request.headers.get("content-type", "").startswith(FORM):
        raise Problem(415, "no_form", f"a form has to be sent as {FORM}; send it from the page")
    try:
        return parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise Problem(422, "invalid_form", "the form cannot be read; load the page again and send it once more"
                      ) from error


TypedForm = Annotated[Typed, Depends(typed_form)]
"""Type of a route's parameter that gets the form."""


def first(form: Typed, name: str, default: str = "") -> str:
    """The first value of a name, as it was sent; `default` where there is none."""
    return next(iter(form.get(name, ())), default)


def key_of(form: Typed) -> str | None:
    """What makes the same form, sent twice, the same job; None where the page gave it no key."""
    return first(form, "key")[:64] or None
