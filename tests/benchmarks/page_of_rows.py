"""Does a page of 100 rows cost the same of a run of 100,000 rows as of one of 1,000?

    python tests/benchmarks/page_of_rows.py --rows 1000 100000 --repeat 200

Writes two runs of 20 classes by the ledger's own code (32 x 32 images, drawn texts, every fourth attempt rejected by an
alignment filter), starts the server in a process of its own, and asks it for the same pages of both in turn. Prints for
each question the median in milliseconds of either run and their ratio, then what building the index took and how large
the server is. Exit code 1 when a page of the larger costs more than 1.2 times that of the smaller.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

CLASSES, BLOCK, MOST = 20, 16, 1.2
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


def write_run(root: Path, rows: int) -> None:
    """A run directory with so many attempts, judged."""
    from terrasynth.prompts.registry import load_expander
    from terrasynth.synthesis import Recipe
    from terrasynth.synthesis.core import layout
    from terrasynth.synthesis.core.files import write_file
    from terrasynth.synthesis.core.identity import Identity
    from terrasynth.synthesis.core.images import encode
    from terrasynth.synthesis.filters import AlignmentFilter, Measurements
    from terrasynth.synthesis.filters.base import NamedJudge
    from terrasynth.synthesis.ledger.blocks import Attempt, Blocks
    from terrasynth.synthesis.ledger.decision_table import write_decisions
    from terrasynth.synthesis.ledger.decisions import ClassDecisions
    from terrasynth.synthesis.ledger.frozen import Frozen

    labels = list(load_expander("grammar").classes)[:CLASSES]
    per_class = -(-rows // CLASSES // BLOCK) * BLOCK
    identity = Identity.of(0, {"revision": "flat", "steps": 1, "guidance": 1.0, "rows": rows}, {"expander": "grammar"})
    recipe = Recipe.parse({"generator": {"model": "ldm-ucm"}, "prompts": {"classes": labels},
                           "target": {"per_class": per_class, "max_attempts": per_class}})
    root.mkdir(parents=True)
    write_file(root / layout.RECIPE, json.dumps(recipe.tree()))  # JSON is YAML
    Frozen(identity, BLOCK, "png").save(root)
    blocks, random, decided = Blocks(root, BLOCK, "png", identity), np.random.default_rng(0), []
    image = encode(random.integers(0, 256, (32, 32, 3), np.uint8), "png")
    for label in labels:
        judge = AlignmentFilter(min_score=-0.5).judge(label, None, root)
        each = ClassDecisions(label, [NamedJudge("alignment", "key", judge)], per_class, per_class)
        for index in range(per_class // BLOCK):
            attempts = []
            for k in range(index * BLOCK, (index + 1) * BLOCK):
                id_, seed = identity.attempt(label, k)
                text = f"An aerial image of a {label}, number {k}" + (", a tenth." if k % 10 == 0 else ".")
                attempts.append(Attempt(id_, k, label, image, text, (text,), seed, "grammar", "{}"))
            measured = Measurements(random.uniform(-1, 1, BLOCK).astype(np.float32), np.zeros((BLOCK, 4), np.float32))
            blocks.write(label, index, attempts, "key", measured)
            each.decide(BLOCK, lambda key, measured=measured: measured)
        decided.append(each)
    write_decisions(root / layout.DECISIONS, decided, ["alignment"], lambda label, k: identity.attempt(label, k)[0])


def ask(client: httpx.Client, name: str, query: dict[str, object]) -> tuple[float, dict]:
    start = time.perf_counter()
    answer = client.get(f"/v1/data-sets/{name}/rows", params=query)
    taken = time.perf_counter() - start
    answer.raise_for_status()
    return 1000 * taken, answer.json()


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
    print(f"{'':36}{names[0]:>14}{names[1]:>14}{'ratio':>8}   (ms, median of {given.repeat})")
    for said in QUESTIONS:
        times = {name: [] for name in names}
        for turn in range(given.repeat):
            for name in names if turn % 2 else reversed(names):
                taken, found = ask(client, name, asked[name][said])
                assert len(found["rows"]) == asked[name][said].get("limit", 100), said
                times[name].append(taken)
        small, large = (statistics.median(times[name]) for name in names)
        worst = max(worst, large / small)
        print(f"{said:36}{small:14.2f}{large:14.2f}{large / small:8.2f}")
    for line in Path(f"/proc/{server}/status").read_text().splitlines():
        if line.startswith(("VmHWM", "VmRSS")):
            print(line)
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
