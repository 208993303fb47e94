"""Does a run of 1,000,000 rows need what one of 10,000 needs?

    python tests/benchmarks/scale.py --rows 10000 100000 1000000

Makes each data set in a process of its own with a generator that takes no time to speak of (flat pictures of 32 x 32
pixels, whose PNG is small and quickly made), real prompts by the grammar, and no filter unless `--duplicates` asks for
the one whose work grows with the class (pictures are then 16 x 16 cells of random colours). Then three processes of
their own start the finished run again, plan it, and carry on with it where its last block is gone, up to the first new
picture. Prints a line of JSON for each size, then a table: peak memory of the run; milliseconds a row beside the
generator, by the clock and in processor time (on a busy machine the clock also counts the others); and the seconds of
these three processes from their first line, libraries included, in processor time with how many times those of
`--base` rows they are. `--curve FILE` draws it; `--read FILE` takes lines that were printed before. Exit code 1 when
the largest size needs 1.1 times the memory of the smallest, 0.35 ms a row of processor time, or a process twice that
of `--base` rows.

    python tests/benchmarks/scale.py --kill 100000

Kills such a run with SIGKILL when 95 % of its blocks are there, then starts it again three times, each up to the first
new picture. Prints a line of JSON for each start: seconds until everything was planned (which is loading libraries,
whatever the size), and from there to the first picture; both by the clock and in processor time. Exit code 1 when a
start took 10 s of processor time from plan to picture. `--at` kills earlier. With `--duplicates` each start goes on
until every class has decided on a new block, and says when that was, too; what it drew is removed again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BEGAN = time.perf_counter()
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

    def draw(self, prompts, seeds):
        from terrasynth.synthesis.generators.base import Drawn

        return Drawn(self.generate(prompts, seeds))

    def generate(self, prompts, seeds):
        import numpy as np

        start = time.perf_counter()
        colours = np.array(seeds, np.uint64).view(np.uint8).reshape(len(seeds), 8)[:, None, None, :3]
        pictures = np.ascontiguousarray(np.broadcast_to(colours, (len(seeds), SIZE, SIZE, 3)))
        self.seconds += time.perf_counter() - start
        return pictures


class Cells(Flat):
    """Draws 16 x 16 cells of random colours, no two pictures alike."""

    def generate(self, prompts, seeds):
        import numpy as np

        start = time.perf_counter()
        cells = np.stack([np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8) for seed in seeds])
        pictures = np.ascontiguousarray(cells.repeat(SIZE // 16, 1).repeat(SIZE // 16, 2))
        self.seconds += time.perf_counter() - start
        return pictures


def recipe(rows: int, duplicates: bool):
    from terrasynth.prompts.registry import load_expander
    from terrasynth.synthesis import Recipe

    labels = list(load_expander("grammar").classes)[:CLASSES]
    filters = [{"kind": "duplicate", "max_similarity": 0.95}] if duplicates else []
    wanted = rows // CLASSES
    return Recipe.parse({
        "name": "scale", "generator": {"model": "flat"}, "filters": filters,
        "prompts": {"expander": "grammar", "classes": labels},
        "target": {"per_class": wanted, "max_attempts": 2 * wanted},
        "runtime": {"block_size": BLOCK, "device": "cpu", "dtype": "float32"},
    })


def stand_in(generator) -> None:
    """Let runs of this process draw with `generator`, whatever model their recipes name."""
    import terrasynth.synthesis.execution.block_maker
    import terrasynth.synthesis.execution.job
    import terrasynth.synthesis.execution.unread

    terrasynth.synthesis.execution.unread.known_by = lambda *model: None
    terrasynth.synthesis.execution.job.find_generator = lambda *settings: generator.source
    terrasynth.synthesis.execution.block_maker.open_generator = lambda *settings: generator


def one(rows: int, out: Path, duplicates: bool, profile: bool) -> dict[str, float]:
    """Make a data set of `rows`, then ask for it once more."""
    from terrasynth.synthesis import run
    from terrasynth.synthesis.generators.base import GeneratorSource

    start = time.perf_counter()
    import terrasynth.synthesis.pipeline  # noqa: F401

    settings = recipe(rows, duplicates)
    kind = Cells if duplicates else Flat
    generator = kind(GeneratorSource("flat", "1", ROOT, "Flat", 1, 0.0, "auto", SIZE, SIZE))
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


class GoesOnError(Exception):
    """The run draws again, and that was the question."""


class Watched(Cells):
    """Notes when it was first asked for a picture, and ends the run there if it is to."""

    def __init__(self, source, end: bool) -> None:
        super().__init__(source)
        self.end, self.asked = end, None

    def generate(self, prompts, seeds):
        self.asked = self.asked or clocks()
        if self.end:
            raise GoesOnError
        return super().generate(prompts, seeds)


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def spans(name: str, start: tuple[float, float], end: tuple[float, float]) -> dict[str, float]:
    return {f"{name}_seconds": end[0] - start[0], f"{name}_busy_seconds": end[1] - start[1]}


def first_picture(rows: int, out: Path, duplicates: bool) -> dict[str, float]:
    """Carry on with a run up to its first new picture; with duplicates, up to a new block of every class."""
    from terrasynth.synthesis import run
    from terrasynth.synthesis.events import BlockDone, Planned
    from terrasynth.synthesis.generators.base import GeneratorSource

    settings, planned, gone_on = recipe(rows, duplicates), [], set()

    def listen(event):
        if isinstance(event, Planned):
            planned.append(clocks())
        if isinstance(event, BlockDone) and event.drawn:
            gone_on.add(event.count.label)
            if len(gone_on) == CLASSES:
                raise GoesOnError

    generator = Watched(GeneratorSource("flat", "1", ROOT, "Flat", 1, 0.0, "auto", SIZE, SIZE), not duplicates)
    stand_in(generator)
    start = clocks()
    try:
        run(settings, out, listen)
    except GoesOnError:
        (then,) = planned
        found = {"rows": rows, **spans("plan", start, then), **spans("resume", then, generator.asked)}
        return {**found, **spans("all_classes", then, clocks())} if duplicates else found
    raise AssertionError("there was too little left to draw: kill it earlier, with --at")


def process_of(step: str, rows: int, out: Path, duplicates: bool) -> dict[str, float]:
    """Start a finished run again, plan it, or carry on with it, in a process that does nothing else."""
    from terrasynth.synthesis import plan, run
    from terrasynth.synthesis.generators.base import GeneratorSource

    generator = Watched(GeneratorSource("flat", "1", ROOT, "Flat", 1, 0.0, "auto", SIZE, SIZE), step == "resume")
    stand_in(generator)
    settings = recipe(rows, duplicates)
    if step == "again":
        assert run(settings, out).drawn == 0
    elif step == "plan":
        assert plan(settings, out).present >= rows
    else:
        sorted((out / "blocks").glob("*"))[-1].joinpath(f"{-(-rows // CLASSES // BLOCK) - 1:05d}.parquet").unlink()
        try:
            run(settings, out)
        except GoesOnError:
            pass
        else:
            raise AssertionError("nothing was drawn")
    return {f"{step}_process_seconds": time.perf_counter() - BEGAN, f"{step}_process_busy_seconds": time.process_time(),
            f"{step}_process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


STEPS = ("again", "plan", "resume")


def block_files(out: Path) -> int:
    return sum(len(os.listdir(folder)) for folder in (out / "blocks").glob("*"))


def killed(rows: int, duplicates: bool, at: float, folder: str | None) -> bool:
    """Kill a run at a share of its blocks and carry on with it; says whether that was quick."""
    quick = True
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        out = Path(temporary) / "run"
        command = [sys.executable, __file__, "--out", str(out), *(["--duplicates"] if duplicates else [])]
        process = subprocess.Popen([*command, "--one", str(rows)], cwd=ROOT)
        while process.poll() is None and block_files(out) < at * rows / BLOCK:
            time.sleep(0.05)
        process.kill()
        process.wait()
        blocks = set((out / "blocks").rglob("*.parquet"))
        print(json.dumps({"blocks": block_files(out), "exit": process.returncode}))
        for _ in range(3):
            done = subprocess.run([*command, "--first-picture", str(rows)], cwd=ROOT, check=True,
                                  stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            print(json.dumps(found), flush=True)
            quick = quick and found["resume_busy_seconds"] < 10
            for path in set((out / "blocks").rglob("*.parquet")) - blocks:
                path.unlink()
    return quick


def measured(rows: int, duplicates: bool, folder: str | None) -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        command = [sys.executable, __file__, "--one", str(rows), "--out", str(Path(temporary) / "run")]
        if duplicates:
            command.append("--duplicates")
        for step in ("", *STEPS):
            done = subprocess.run([*command, *(["--step", step] if step else [])], cwd=ROOT, check=True,
                                  stdout=subprocess.PIPE, text=True)
            found |= json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--base", type=int, default=100_000, help="the size that starts, plans and resumes go by")
    parser.add_argument("--duplicates", action="store_true", help="with the filter of near copies, by thumbnails")
    parser.add_argument("--kill", type=int, help="kill a run of so many rows, and carry on with it")
    parser.add_argument("--at", type=float, default=0.95, help="with --kill: at which share of its blocks")
    parser.add_argument("--profile", action="store_true", help="with --one: print where the time goes")
    parser.add_argument("--folder", help="where runs are made, and removed again")
    parser.add_argument("--curve", type=Path, help="an SVG to write")
    parser.add_argument("--read", type=Path, help="lines of an earlier call, instead of measuring")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--first-picture", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step or options.one or options.first_picture:
        from terrasynth.synthesis.core.collector import look_seldom

        look_seldom()  # as the command line does
    if options.step:
        print(json.dumps(process_of(options.step, options.one, options.out, options.duplicates)))
        return 0
    if options.one:
        print(json.dumps(one(options.one, options.out, options.duplicates, options.profile)))
        return 0
    if options.first_picture:
        print(json.dumps(first_picture(options.first_picture, options.out, options.duplicates)))
        return 0
    if options.kill:
        return 0 if killed(options.kill, options.duplicates, options.at, options.folder) else 1
    found = [json.loads(line) for line in options.read.read_text().splitlines()] if options.read else []
    for rows in [] if options.read else options.rows:
        found.append(measured(rows, options.duplicates, options.folder))
        print(json.dumps(found[-1]), flush=True)
    base = next((each for each in found if each["rows"] == options.base), found[0])
    print(table(found, base))
    if options.curve:
        options.curve.write_text(curve(found))
    return 0 if holds(found[0], found[-1], base) else 1


def holds(small: dict[str, float], large: dict[str, float], base: dict[str, float]) -> bool:
    return (large["peak_mib"] <= 1.1 * small["peak_mib"] and large["overhead_busy_ms"] <= 0.35
            and all(large[key] <= 2 * base[key] for key in (f"{step}_process_busy_seconds" for step in STEPS)))


def table(found: list[dict[str, float]], base: dict[str, float]) -> str:
    lines = ["| rows | files | peak memory | against the smallest | ms a row, processor | ms a row, clock | "
             "started again, s | plan, s | resume, s |", "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for each in found:
        steps = [f"{each[key]:.1f} ({each[key] / base[key]:.2f})"
                 for key in (f"{step}_process_busy_seconds" for step in STEPS)]
        lines.append(f"| {each['rows']:,} | {each['files']:,} | {each['peak_mib']:.0f} MiB | "
                     f"{each['peak_mib'] / found[0]['peak_mib']:.3f} | {each['overhead_busy_ms']:.2f} | "
                     f"{each['overhead_ms']:.2f} | {' | '.join(steps)} |")
    return "\n".join(lines)


def curve(found: list[dict[str, float]]) -> str:
    """Three small panels over the number of rows, which is on a logarithmic axis."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "scale", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
                            "axes.spines.right": False}
    from io import StringIO

    from matplotlib import pyplot

    panels = (("peak_mib", "peak memory, MiB"), ("overhead_busy_ms", "processor ms a row\nbeside the generator"),
              ("again_seconds", "s to see that\nnothing is to do"))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(9, 2.4), layout="constrained")
    for axis, (key, label) in zip(axes, panels, strict=True):
        axis.semilogx([each["rows"] for each in found], [each[key] for each in found], "o-", color="#1f5f8b")
        axis.set(xlabel="rows", ylabel=label, ylim=(0, 1.3 * max(each[key] for each in found)))
        axis.grid(alpha=0.3)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
