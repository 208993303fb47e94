"""A real server in a thread, and what a stream of events says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from terrasynth.synthesis.service.app import create_app
from terrasynth.synthesis.service.server import listening, make_server
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.service.store import JobStore

TOKEN = "a token of twenty-three"


@contextmanager
def web_server(settings: ServiceSettings, store: JobStore) -> Iterator[str]:
    """Serve on a free port; gives the address."""
    server = make_server(create_app(settings, store), settings)
    with listening(settings) as made:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [made]})
        thread.start()
        try:
            address = f"http://{settings.host}:{made.getsockname()[1]}"
            httpx.get(f"{address}/healthz", timeout=60).raise_for_status()  # the socket listens, so this waits
            yield address
        finally:
            server.should_exit = True
            thread.join()


def events_in(text: str) -> list[tuple[int, str]]:
    """Number and type of each event in the text of a stream."""
    found = []
    for part in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line and not line.startswith(":"))
        if "id" in fields:
            found.append((int(fields["id"]), fields["event"]))
    return found


def tiny_recipe(models) -> dict:
    """A recipe of three classes with tiny models, some of whose images are rejected."""
    return {
        "name": "tiny", "generator": {"model": str(models.generator), "steps": 2, "guidance": 3.0},
        "prompts": {"expander": "grammar", "classes": ["beach", "forest", "river"]},
        "filters": [
            {"kind": "alignment", "encoder": str(models.encoder), "quantile": 0.3, "calibrate_on": 4},
            {"kind": "duplicate", "encoder": str(models.encoder), "max_similarity": 0.9999},
        ],
        "target": {"per_class": 5, "max_attempts": 24},
        "runtime": {"block_size": 4, "device": "cpu", "dtype": "float32"},
    }
