"""Does the web process stay small, and the size that it has, whatever it is asked?

    python tests/benchmarks/web_memory.py --requests 10000

Starts the server in a process of its own over a run of 10,000 rows, asks every kind of question 20 times, then goes on
asking, eight clients at once, with streams of events that come and go. Prints the resident size before and after. Exit
code 1 when it is 200 MiB or more, or more than 1.1 times what it was after the first questions.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.page_of_rows import SERVER, indexed  # noqa: E402 - found by the line above
from tests.synthesis.service.written import write_run  # noqa: E402

MOST_MIB, MOST_GROWTH, CLIENTS = 200, 1.1, 8
RECIPE = {"generator": {"model": "ldm-ucm"}, "prompts": {"classes": ["beach", "harbor"]},
          "filters": [{"kind": "alignment", "pass_real": 0.95}]}


def questions(client: httpx.Client) -> list[tuple[str, str, dict]]:
    """One request of each kind, as method, path and what goes with it."""
    rows = client.get("/v1/data-sets/rows/rows").json()["rows"]
    job = client.post("/v1/jobs", json={"kind": "run", "data_set": "new", "recipe": RECIPE}).json()["id"]
    client.post(f"/v1/jobs/{job}/cancel")
    here = "/v1/data-sets/rows"
    gets = [
        "/healthz", "/metrics", "/v1/jobs", f"/v1/jobs/{job}", f"/v1/jobs/{job}/events", f"/v1/jobs/{job}/log",
        "/v1/data-sets", here, f"{here}/rows", f"{here}/rows?text=tenth", f"{here}/rows?order=newest&verdict=accepted",
        f"{here}/rows?filter=alignment&order=score", f"{here}/rows/{rows[0]['id']}", f"{here}/images/{rows[1]['id']}",
        f"{here}/images/{rows[77]['id']}", f"{here}/counts", f"{here}/scores?filter=alignment", f"{here}/card",
        f"{here}/recipe", "/v1/models", "/v1/recipes/schema", "/v1/openapi.json", "/nothing",
    ]
    return [("GET", path, {}) for path in gets] + [
        ("POST", "/v1/jobs", {"json": {"kind": "run", "data_set": "../up"}}),
        ("POST", "/v1/jobs", {"json": {"kind": "run", "data_set": "new", "recipe": RECIPE},
                              "headers": {"Idempotency-Key": "one"}}),
        ("POST", "/v1/jobs", {"content": b"x" * 2**21}),
    ]


def size(process: int) -> float:
    """Resident MiB of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {process} has no size")


def ask(address: str, asked: list[tuple[str, str, dict]], turns: itertools.count, most: int) -> None:
    """Ask questions in turn, with the other threads, until so many were asked."""
    with httpx.Client(base_url=address, timeout=120) as client:
        while (turn := next(turns)) < most:
            method, path, given = asked[turn % len(asked)]
            try:
                answer = client.request(method, path, **given)
            except httpx.TransportError:
                if "content" not in given:  # a body that is too long may be cut off before it was sent
                    raise
                continue
            assert answer.status_code < 500, (method, path, answer.text)


def ask_all(address: str, asked: list[tuple[str, str, dict]], most: int) -> None:
    turns = itertools.count()
    threads = [threading.Thread(target=ask, args=(address, asked, turns, most)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder, "rows"), 10_000)
        server = subprocess.Popen([sys.executable, "-c", SERVER, folder], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            address = server.stdout.readline().strip()
            with httpx.Client(base_url=address, timeout=120) as client:
                indexed(client, "rows")
                asked = questions(client)
            ask_all(address, asked, 20 * len(asked))
            before = size(server.pid)
            ask_all(address, asked, given.requests)
            after = size(server.pid)
        finally:
            server.terminate()
            server.wait()
    print(f"resident: {before:.0f} MiB after {20 * len(asked)} requests, {after:.0f} MiB after {given.requests} more "
          f"({after / before:.2f})")
    return int(after >= MOST_MIB or after > MOST_GROWTH * before)


if __name__ == "__main__":
    sys.exit(main())
