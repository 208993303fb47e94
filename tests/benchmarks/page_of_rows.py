"""Does a page of 100 rows cost the same of a run of 100,000 rows as of one of 1,000?

    python tests/benchmarks/page_of_rows.py --rows 1000 100000 --repeat 200

Writes two runs of 20 classes by the ledger's own code (32 x 32 images, drawn texts, every fourth attempt rejected by an
alignment filter), starts the server in a process of its own, and asks it for the same pages of both in turn. Prints for
each question the median in milliseconds of either run and their ratio, in processor time of the server and by the clock
(on a busy machine the clock counts the others, too), what building the index took, and how large the server is. Exit
code 1 when a page of the larger takes more than 1.2 times the processor time of the smaller.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.synthesis.service.written import write_run  # noqa: E402 - found by the line above

MOST = 1.2
QUESTIONS = {
    "first page": {},
    "fifty rows of a class": {"label": "CLASS", "limit": 50},
    "accepted": {"verdict": "accepted"},
    "rejected by the filter": {"reason": "alignment"},
    "a word that every tenth text has": {"text": "tenth"},
    "scores of 0.2 to 0.5": {"filter": "alignment", "least": 0.2, "most": 0.5},
    "the lowest scores": {"filter": "alignment", "order": "score"},
    "scores from 0.1, in order": {"filter": "alignment", "order": "score", "least": 0.1},
    "the newest": {"order": "newest"},
    "second page": {"after": "NEXT"},
}
SERVER = """
import sys
from pathlib import Path
from terrasynth.synthesis.service.app import create_app
from terrasynth.synthesis.service.server import serve
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.service.store import JobStore
runs = Path(sys.argv[1])
settings = ServiceSettings(runs, port=0)
store = JobStore(runs / ".service" / "jobs.sqlite")
serve(create_app(settings, store), settings, lambda address: print(address, flush=True))
"""


def ask(client: httpx.Client, name: str, query: dict[str, object]) -> tuple[float, dict]:
    start = time.perf_counter()
    answer = client.get(f"/v1/data-sets/{name}/rows", params=query)
    taken = time.perf_counter() - start
    answer.raise_for_status()
    return 1000 * taken, answer.json()


def busy(process: int) -> float:
    """Milliseconds of processor time that all threads of a process have had."""
    fields = (path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/schedstat"))
    return sum(int(each[0]) for each in fields) / 1e6


def indexed(client: httpx.Client, name: str) -> float:
    """Seconds until all of a run is in the index."""
    start = time.perf_counter()
    while not ask(client, name, {"limit": 1})[1]["texts_complete"]:
        time.sleep(0.2)
    return time.perf_counter() - start


def questions(client: httpx.Client, name: str) -> dict[str, dict[str, object]]:
    """The questions as they are put to a run."""
    first = ask(client, name, {})[1]
    words = {"CLASS": first["rows"][0]["label"], "NEXT": first["next"]}
    return {said: {key: words.get(str(value), value) for key, value in query.items()}
            for said, query in QUESTIONS.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs=2, default=[1000, 100_000])
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument("--folder", help="Where the runs are written; a temporary one without it.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        names = [f"rows-{rows}" for rows in given.rows]
        for name, rows in zip(names, given.rows, strict=True):
            write_run(Path(folder, name), rows)
        server = subprocess.Popen([sys.executable, "-c", SERVER, folder], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            address = server.stdout.readline().strip()
            with httpx.Client(base_url=address, timeout=120) as client:
                return measured(client, names, given, server.pid)
        finally:
            server.terminate()
            server.wait()


def measured(client: httpx.Client, names: list[str], given: argparse.Namespace, server: int) -> int:
    for name in names:
        print(f"{name}: index after {indexed(client, name):.1f} s")
    time.sleep(2.5)  # what changed that lately is looked at again
    asked = {name: questions(client, name) for name in names}
    worst = 0.0
    print(f"{'':36}{'processor time of the server':>28}{'':8}{'until the answer':>32}   (ms, n = {given.repeat})")
    print(f"{'':36}{names[0]:>14}{names[1]:>14}{'ratio':>8}" + f"{names[0]:>12}{names[1]:>12}{'ratio':>8}")
    for said in QUESTIONS:
        times: dict[str, list[float]] = {name: [] for name in names}
        spent: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(given.repeat):
            for name in names if turn % 2 else reversed(names):
                before = busy(server)
                taken, found = ask(client, name, asked[name][said])
                spent[name].append(busy(server) - before)
                assert len(found["rows"]) == asked[name][said].get("limit", 100), said
                times[name].append(taken)
        figures = [statistics.median(each[name]) for each in (spent, times) for name in names]
        worst = max(worst, figures[1] / figures[0])
        line = "".join(f"{a:{width}.2f}{b:{width}.2f}{b / a:8.2f}" for a, b, width in (
            (*figures[:2], 14), (*figures[2:], 12)))
        print(f"{said:36}{line}", flush=True)
    for line in Path(f"/proc/{server}/status").read_text().splitlines():
        if line.startswith(("VmHWM", "VmRSS")):
            print(line)
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
