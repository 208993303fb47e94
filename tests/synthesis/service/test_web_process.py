"""The web process loads no model, stays small, and does not grow with what it is asked."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "diffusers", "transformers", "datasets", "matplotlib", "accelerate", "peft")
SCRIPT = f"""
import json, sys
from pathlib import Path
from fastapi.testclient import TestClient
from terrasynth.synthesis.service.app import create_app
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.service.store import JobStore

runs = Path(sys.argv[1])
app = create_app(ServiceSettings(runs, wait_seconds=0), JobStore(runs / ".service" / "jobs.sqlite"))
recipe = {{"generator": {{"model": "ldm-ucm"}}, "prompts": {{"classes": ["beach"]}},
           "filters": [{{"kind": "alignment", "pass_real": 0.95}}]}}
with TestClient(app, base_url="http://localhost:8765") as client:
    rows = client.get("/v1/data-sets/tiny/rows").json()["rows"]
    answers = [
        *(client.get(f"/v1/data-sets/tiny{{place}}") for place in (
            "", "/rows?text=a", "/counts", "/scores?filter=alignment", "/recipe", "/card", "/report/index.html",
            f"/rows/{{rows[0]['id']}}", f"/images/{{rows[0]['id']}}", "/reviews/next?reviewer=ada",
            "/reviews/summary")),
        *(client.get(place) for place in (
            "/", "/new", "/try", "/compare", "/data-sets/tiny", f"/data-sets/tiny/rows/{{rows[0]['id']}}",
            "/data-sets/tiny/review", "/data-sets/tiny/thresholds", "/data-sets/tiny/publish")),
        *(client.get(place) for place in ("/healthz", "/metrics", "/v1/data-sets", "/v1/jobs", "/v1/models",
                                          "/v1/recipes", "/v1/recipes/schema", "/v1/recipes/demo", "/v1/openapi.json")),
        client.post("/v1/jobs", json={{"kind": "run", "data_set": "new", "recipe": recipe}}),
        client.post("/v1/jobs", json={{"kind": "export", "data_set": "tiny", "format": "coco", "out": "out"}}),
        client.post("/v1/jobs", json={{"kind": "evaluate", "data_set": "tiny"}}),
        client.post("/v1/plans", json={{"recipe": recipe}}),
        client.post("/v1/prompts", json={{"classes": ["beach"]}}),
    ]
print(json.dumps({{"statuses": sorted({{answer.status_code for answer in answers}}),
                   "heavy": [name for name in {HEAVY!r} if name in sys.modules]}}))
"""


def test_no_request_loads_a_library_of_models(written, runs):
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(runs)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"statuses": [200, 201, 202], "heavy": []}
