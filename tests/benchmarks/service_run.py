"""Does a run through the service cost the same as one of the command line?

    python tests/benchmarks/service_run.py --repeat 3 --set target.per_class=12

Makes the data set of the recipe `demo` by `terrasynth run` and as a job of a supervisor in turn, each in a folder of
its own, and compares their files. A job counts from before it is created until it has ended.
Prints wall seconds and processor seconds of each pair, and the ratio of their medians. Exit code 1 when the job takes
more than 1.03 times the processor time, which other work on the machine does not move as it moves the wall clock, or
when `data/` is not the same.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

MOST = 1.03


def by_command(out: Path, overrides: list[str]) -> None:
    """`terrasynth run`."""
    given = [each for override in overrides for each in ("--set", override)]
    subprocess.run([sys.executable, "-m", "terrasynth", "run", "demo", "--out", out, *given], check=True,
                   capture_output=True, cwd=ROOT)


def by_service(out: Path, overrides: list[str]) -> None:
    """A job, created and waited for; the supervisor ends with its child."""
    from terrasynth.synthesis.recipe import Recipe
    from terrasynth.synthesis.service.specs import parse_spec
    from terrasynth.synthesis.service.states import ENDED, State
    from terrasynth.synthesis.service.store import JobStore
    from terrasynth.synthesis.service.supervisor import Supervisor, WorkSettings

    store = JobStore(out.parent / ".service" / "jobs.sqlite")
    stop = threading.Event()
    settings = WorkSettings(out.parent, spare_memory=0)
    thread = threading.Thread(target=Supervisor(settings, store).run, args=(stop,))
    thread.start()
    recipe = Recipe.load("demo", overrides).tree()
    job, _ = store.create(parse_spec({"kind": "run", "data_set": out.name, "recipe": recipe}))
    while store.get(job.id).state not in ENDED:
        time.sleep(0.1)
    stop.set()
    thread.join()
    found = store.get(job.id)
    assert found.state is State.SUCCEEDED, found.error
    store.close()


def measured(work: Callable[[Path, list[str]], None], out: Path, overrides: list[str]) -> tuple[float, float]:
    """Wall and processor seconds, those of this process and of its children included."""
    before, start = _processor(), time.perf_counter()
    work(out, overrides)
    return time.perf_counter() - start, _processor() - before


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def hashes(folder: Path) -> dict[str, str]:
    """Hash of every file of `data/`."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "data").iterdir())}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="A.B=C")
    given = parser.parse_args()
    ways = {"command": by_command, "service": by_service}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as root:
        for turn in range(given.repeat):
            order = list(ways) if turn % 2 == 0 else list(reversed(ways))
            for name in order:
                seconds[name].append(measured(ways[name], Path(root, f"{name}-{turn}"), given.overrides))
            if hashes(Path(root, f"command-{turn}")) != hashes(Path(root, f"service-{turn}")):
                print("data/ differs")
                return 1
            wall, processor = zip(*(seconds[name][-1] for name in ways), strict=True)
            print(f"turn {turn}: wall {wall[0]:.2f} and {wall[1]:.2f} s, processor {processor[0]:.2f} and "
                  f"{processor[1]:.2f} s", flush=True)
    ratios = []
    for place in (0, 1):
        medians = [statistics.median(each[place] for each in seconds[name]) for name in ways]
        ratios.append(medians[1] / medians[0])
    print(f"service / command, medians of {given.repeat}: wall {ratios[0]:.3f}, processor {ratios[1]:.3f}; "
          "data/ is the same")
    return int(ratios[1] > MOST)


if __name__ == "__main__":
    sys.exit(main())
