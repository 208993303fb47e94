#!/usr/bin/env bash
# FastAPI looks into the signature of `response_class.__init__` for the default of `status_code`, to say it in the
# OpenAPI description. A class of responses whose __init__ has no such parameter serves its requests well, and is
# documented as a response class (subclasses of starlette's Response may have any __init__); but the first look at
# /openapi.json or /docs ends in an UnboundLocalError, so that one route takes the description of the whole
# application with it. A `status_code=200` on the route avoids it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check fastapi==0.165.0 httpx==0.28.1 pydantic==2.14.3 starlette==1.10.0
cat >"$work/described.py" <<'PYTHON_CODE'
import sys

import fastapi
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient


class Lines(Response):
    media_type = "text/plain"

    def __init__(self, lines):
        super().__init__("\n".join(lines))


def answers(**settings):
    app = FastAPI()

    @app.get("/lines", response_class=Lines, **settings)
    def lines():
        return Lines(["one", "two"])

    @app.get("/other")
    def other():
        return {"is": "well"}

    client = TestClient(app, raise_server_exceptions=False)
    try:
        described = sorted(app.openapi()["paths"])
    except Exception as error:
        described = f"{type(error).__name__}: {error}"
    return client.get("/lines").text, client.get("/openapi.json").status_code, described


plain, stated = answers(), answers(status_code=200)
print(f"fastapi {fastapi.__version__}; expected: both routes described, whether or not the route states its code")
print("without status_code: GET /lines %r, GET /openapi.json %s, app.openapi() %s" % plain)
print("with status_code=200: GET /lines %r, GET /openapi.json %s, app.openapi() %s" % stated)
good = ("one\ntwo", 200, ["/lines", "/other"])
seen = plain[0] == good[0] and plain[1] == 500 and str(plain[2]).startswith("UnboundLocalError")
sys.exit(0 if seen and stated == good else 1)
PYTHON_CODE
"$work/venv/bin/python" "$work/described.py"
