"""How many rows a second two processes, or two actors of a Ray cluster, make, against one process with one thread.

    python tests/benchmarks/processes.py --rows 96 --steps 8 --rounds 3 --executors processes ray

Makes the same data set in each way in turn, each time in a new process, with an embedded generator that draws exactly
(each image on one thread) and no filter. Counts rows from the moment at which every worker has made its first block, so
that loading libraries and weights, which all do once, does not count, up to the last block; the drain at the end, when
workers wait for the last one, does. Prints a line of JSON a run, with the load of the machine, then the ratios, their
median, and whether the bytes are equal; exit code 1 where they are not, or where the median is below `--least`. Only a
machine that does nothing else gives a ratio that means something.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

CLASSES, BLOCK = ["beach", "forest", "harbor", "runway"], 4


def one(executor: str, workers: int, rows: int, steps: int, model: str, out: Path) -> dict[str, object]:
    """Make the data set, and time it."""
    from terrasynth import Recipe, run
    from terrasynth.synthesis.events import BlockDone

    per_class = rows // len(CLASSES)
    recipe = Recipe.parse({
        "name": "processes", "generator": {"model": model, "steps": steps, "guidance": 2.0},
        "prompts": {"expander": "grammar", "classes": CLASSES},
        "target": {"per_class": per_class, "max_attempts": 2 * per_class},
        "runtime": {"block_size": BLOCK, "device": "cpu", "dtype": "float32", "exact": True, "executor": executor,
                    **({"workers": workers} if executor != "local" else {})},
    })
    made: list[tuple[float, int, int | None]] = []

    def hear(event: object) -> None:
        if isinstance(event, BlockDone) and event.drawn:
            made.append((time.perf_counter(), event.drawn, event.worker))

    run(recipe, out, hear)
    first = {worker: at for at, _, worker in reversed(made)}
    begin = max(first.values())
    counted = [drawn for at, drawn, _ in made if at > begin]
    seconds = made[-1][0] - begin
    spent = sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    content = hashlib.sha256()
    for path in sorted((out / "blocks").rglob("*.parquet")):
        content.update(path.read_bytes())
    return {"executor": executor, "workers": len(first), "rows": sum(counted), "seconds": round(seconds, 2),
            "rows_per_second": sum(counted) / seconds, "processor_seconds": round(spent, 1), "load": os.getloadavg()[0],
            "blocks": content.hexdigest()[:16]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="ldm-ucm")
    parser.add_argument("--executors", nargs="+", default=["processes"], help="beside local")
    parser.add_argument("--least", type=float, default=0.0, help="exit code 1 where a median is below")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        with tempfile.TemporaryDirectory() as folder:
            found = one(options.one, options.workers, options.rows, options.steps, options.model, Path(folder) / "run")
        print(json.dumps(found))
        return 0
    contents, ratios = set(), {executor: [] for executor in options.executors}
    for number in range(options.rounds):
        rates, turns = {}, ["local", *options.executors]
        for executor in turns if number % 2 == 0 else reversed(turns):
            given = [f"--{name}={getattr(options, name)}" for name in ("rows", "steps", "workers", "model")]
            done = subprocess.run(
                [sys.executable, __file__, "--one", executor, *given],
                env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True)
            print(done.stdout.strip(), flush=True)
            found = json.loads(done.stdout)
            rates[executor] = found["rows_per_second"]
            contents.add(found["blocks"])
        for executor, each in ratios.items():
            each.append(rates[executor] / rates["local"])
    medians = {executor: statistics.median(each) for executor, each in ratios.items()}
    print(json.dumps({"ratios": {executor: [round(one, 3) for one in each] for executor, each in ratios.items()},
                      "medians": {executor: round(each, 3) for executor, each in medians.items()},
                      "bytes": "equal" if len(contents) == 1 else "different"}))
    return int(len(contents) != 1 or min(medians.values()) < options.least)


if __name__ == "__main__":
    sys.exit(main())
