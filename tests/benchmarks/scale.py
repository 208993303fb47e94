"""Does a run of 100,000 rows need what one of 1,000 needs?

    python tests/benchmarks/scale.py --rows 1000 10000 100000

Makes each data set in a process of its own with a generator that takes no time to speak of (flat pictures of 32 x 32
pixels, whose PNG is small and quickly made), real prompts by the grammar, and no filter unless `--duplicates` asks for
the one whose work grows with the class. Prints one line of JSON a size and a table: peak memory, milliseconds a row
without what the generator itself took, and seconds to find out that a finished run is finished. `--docs FILE` writes
table and curve as Markdown with an SVG beside it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SIZE, CLASSES, BLOCK = 32, 20, 16


class Flat:
    """Draws a picture of one colour, which the seed decides."""

    micro_batch = BLOCK
    vae_slicing = False
    token_limit = None
    size = (SIZE, SIZE)

    def __init__(self, source) -> None:
        self.source = source
        self.seconds = 0.0

    def identity(self):
        return self.source.identity()

    def count_tokens(self, text):
        return 0

    def generate(self, prompts, seeds):
        import numpy as np

        start = time.perf_counter()
        colours = np.array(seeds, np.uint64).view(np.uint8).reshape(len(seeds), 8)[:, None, None, :3]
        pictures = np.ascontiguousarray(np.broadcast_to(colours, (len(seeds), SIZE, SIZE, 3)))
        self.seconds += time.perf_counter() - start
        return pictures


def recipe(rows: int, duplicates: bool):
    from prompts.registry import load_expander
    from synthesis import Recipe

    labels = list(load_expander("grammar").classes)[:CLASSES]
    filters = [{"kind": "duplicate", "max_similarity": 1.0}] if duplicates else []
    wanted = rows // CLASSES
    return Recipe.parse({
        "name": "scale", "generator": {"model": "flat"}, "filters": filters,
        "prompts": {"expander": "grammar", "classes": labels},
        "target": {"per_class": wanted, "max_attempts": 2 * wanted},
        "runtime": {"block_size": BLOCK, "device": "cpu", "dtype": "float32"},
    })


def stand_in(generator) -> None:
    """Let runs of this process draw with `generator`, whatever model their recipes name."""
    import synthesis.job

    synthesis.job.find_generator = lambda *settings: generator.source
    synthesis.job.open_generator = lambda *settings: generator


def one(rows: int, out: Path, duplicates: bool, profile: bool) -> dict[str, float]:
    """Make a data set of `rows`, then ask for it once more."""
    from synthesis import run
    from synthesis.generators import GeneratorSource

    start = time.perf_counter()
    import synthesis.pipeline  # noqa: F401

    settings = recipe(rows, duplicates)
    generator = Flat(GeneratorSource("flat", "1", ROOT, "Flat", 1, 0.0, "auto", SIZE, SIZE))
    stand_in(generator)
    loaded, busy = time.perf_counter(), time.process_time()
    if profile:
        import cProfile
        import pstats

        profiler = cProfile.Profile()
        profiler.runcall(run, settings, out)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumtime").print_stats(45)
    else:
        run(settings, out)
    made, made_busy = time.perf_counter(), time.process_time()
    result = run(settings, out)
    again, again_busy = time.perf_counter(), time.process_time()
    assert result.drawn == 0
    assert result.accepted == rows
    return {
        "rows": rows,
        "overhead_ms": 1000 * (made - loaded - generator.seconds) / rows,
        "overhead_busy_ms": 1000 * (made_busy - busy - generator.seconds) / rows,
        "generator_ms": 1000 * generator.seconds / rows,
        "seconds": made - loaded,
        "again_seconds": again - made,
        "again_busy_seconds": again_busy - made_busy,
        "load_seconds": loaded - start,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "files": sum(1 for _ in out.rglob("*")),
    }


def measured(rows: int, duplicates: bool, folder: str | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        command = [sys.executable, __file__, "--one", str(rows), "--out", str(Path(temporary) / "run")]
        if duplicates:
            command.append("--duplicates")
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--duplicates", action="store_true", help="with the filter of near copies, by thumbnails")
    parser.add_argument("--profile", action="store_true", help="with --one: print where the time goes")
    parser.add_argument("--folder", help="where runs are made, and removed again")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.out, options.duplicates, options.profile)))
        return 0
    found = []
    for rows in options.rows:
        found.append(measured(rows, options.duplicates, options.folder))
        print(json.dumps(found[-1]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
