"""The description of the interface: what every route may answer beside its own, said once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.service.problems import MEDIA_TYPE, ProblemDocument

ABOUT = """Makes, shows, judges and publishes data sets of remote-sensing images.

A job is created once, is durable when the answer comes, and is followed by server-sent events. Errors are problem
documents (RFC 9457). Where the server has a token, every request shows it as `Authorization: Bearer TOKEN`."""
WITH_RECIPE = ("RunSpec", "PlanSpec", "PlanRequest")
ANSWERS: Mapping[str, str] = {
    "400": "The body is no JSON",
    "401": "The token is missing or wrong",
    "403": "The name of the server or the origin of the request is not allowed",
    "404": "What is asked for does not exist",
    "408": "The body did not arrive in time",
    "409": "It does not go together with what is there",
    "413": "The body is too long",
    "422": "The request is wrong",
    "429": "The server has no room for this at present",
    "431": "The headers are too long",
    "503": "The system does not let the server read what it needs",
}


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application; made once."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError", "Verdict"):  # nothing in the document refers to them
            schemas.pop(name, None)
        for model in (ProblemDocument, Recipe):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        for name in WITH_RECIPE:  # plain data to the store, so that a job keeps what was sent
            told = schemas[name]["properties"]["recipe"]
            recipe = {"$ref": "#/components/schemas/Recipe"}
            told.pop("additionalProperties", None)
            told |= {"anyOf": [recipe, {"type": "null"}]} if "anyOf" in told else {"allOf": [recipe]}
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in found["paths"].items():
            for operation in methods.values():
                if path != "/healthz":
                    operation["security"] = [{"token": []}, {}]
                for status, about in ANSWERS.items():
                    operation["responses"][status] = {
                        "description": about,
                        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
                    }
        app.openapi_schema = found
    return app.openapi_schema
