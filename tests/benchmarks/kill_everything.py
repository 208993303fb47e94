"""Do a run, exports and a push that are killed again and again end as though they never were?

    python tests/benchmarks/kill_everything.py --kills 200 --what run,export,push

Each round starts a command, kills it with SIGKILL after a random share of the time that an undisturbed one takes, and
starts the same command again, until one ends by itself; then it compares everything with what the undisturbed one
made, and `terrasynth verify` looks the run over. The generator takes no time (flat pictures): what is tested are
blocks, decisions, shards, pages, exported files and uploads. Pushes go to a stand-in for the Hub. Commands are forks of
a process that has imported what they need, so that a kill hits the command and not Python's imports.
Exit code 1 when anything was lost, doubled or different. See `kill_resume.py` for a real model.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.scale import SIZE, Flat, stand_in
from tests.synthesis.helpers import fingerprint

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ("parquet", "imagefolder", "webdataset", "coco")
SPLITS = "train=0.8,validation=0.1,test=0.1"
RECIPE = {
    "name": "killed", "generator": {"model": "flat"},
    "prompts": {"expander": "grammar", "classes": ["beach", "forest", "river"]},
    "filters": [{"kind": "duplicate", "max_similarity": 1.0}],
    "target": {"per_class": 40, "max_attempts": 80}, "output": {"rows_per_shard": 30},
    "runtime": {"block_size": 8, "device": "cpu", "dtype": "float32"},
}


@dataclass(frozen=True)
class Round:
    """A command to be killed.

    Attributes:
        part: "run", "export" or "push".
        kind: What of it; rounds of one kind take the same time.
        command: Arguments of `terrasynth`.
        wrong: Called at the end with the number of kills: what is wrong, or nothing.
    """

    part: str
    kind: str
    command: list[str]
    wrong: Callable[[int], str]


class Starter:
    """Starts commands as forks of one process."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--starter", str(log)], env=environment, cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def start(self, command: list[str]) -> int:
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def ended(self) -> int:
        """Exit code, or minus the signal."""
        return int(self._process.stdout.readline())

    def ends_within(self, seconds: float) -> bool:
        """Wait for the command, but not longer."""
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def serve_commands(log: Path) -> None:
    """Fork a command for every line of stdin; say its process id, then how it ended."""
    from terrasynth.synthesis.cli import main
    from terrasynth.synthesis.generators.base import GeneratorSource

    stand_in(Flat(GeneratorSource("flat", "1", log.parent / "flat", "Flat", 1, 0.0, "auto", SIZE, SIZE)))
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            _run_in_child(main, command, log)
        answers.write(f"{child}\n")
        answers.flush()
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()
        if command[0] != "push":  # what streams from the Hub has connections and threads of its own, not to be forked
            _import_what_it_needed(log.with_suffix(".modules"))


def _run_in_child(main: Callable[[list[str]], None], command: list[str], log: Path) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        main(command)
    except SystemExit as end:
        sys.stderr.flush()
        log.with_suffix(".modules").write_text("\n".join(sys.modules))
        os._exit(end.code)
    finally:
        os._exit(70)


def _import_what_it_needed(found: Path) -> None:
    """The modules that a command imported, so that those after it need not."""
    if not found.is_file():
        return
    for name in found.read_text().splitlines():
        if name not in sys.modules and name.split(".")[0] not in ("__main__", "terrasynth"):
            with suppress(Exception):
                importlib.import_module(name)
    found.unlink()


def rounds(what: str, out: Path, whole: Path, hub) -> Iterator[Round]:
    """Endless rounds of one part, after what they are compared with was made."""
    number = 0
    while True:
        if what == "run":
            yield run_round(out / f"run-{number}", out / "recipe.yaml", whole)
        elif what == "export":
            yield export_round(out / f"export-{number}", FORMATS[number % len(FORMATS)], whole)
        else:
            yield push_round(f"user/{what}-{number}", out / "pushed", hub)
        number += 1


def run_round(out: Path, recipe: Path, whole: Path) -> Round:
    def wrong(kills: int) -> str:
        from terrasynth.synthesis.verify.verifying import verify

        faults = [fault.line for fault in verify(out)]
        return "; ".join(faults) or different(results_of(out), results_of(whole))

    return Round("run", "run", ["run", str(recipe), "--out", str(out)], wrong)


def results_of(run: Path) -> dict[str, str]:
    return {name: digest for name, digest in fingerprint(run).items()
            if name.startswith(("blocks/", "scores/", "data/", "decisions", "README", "report/", "identity"))}


def export_round(out: Path, name: str, whole: Path) -> Round:
    reference = whole.parent / f"whole-{name}"

    def wrong(kills: int) -> str:
        return different(fingerprint(out), fingerprint(reference))

    command = ["export", str(whole), "--format", name, "--out", str(out), "--splits", SPLITS]
    return Round("export", f"export {name}", command, wrong)


def push_round(name: str, whole: Path, hub) -> Round:
    from tests.hub_server import published

    for kept in (hub.repositories, hub.objects, hub.parts, hub.received, hub.uploads):
        kept.clear()

    def wrong(kills: int) -> str:
        files = {path: data for path, data in published(hub, name).items() if path.startswith("data/")}
        there = {f"data/{path.name}": path.read_bytes() for path in (whole / "data").iterdir()}
        if files != there:
            return f"{sorted(files)} arrived, {sorted(there)} were sent, or their bytes differ"
        if len(hub.repositories[name].history()) != 2:
            return f"{len(hub.repositories[name].history())} commits"
        sizes = {oid: len(data) for oid, data in hub.objects.items()}
        twice = sum(hub.received.values()) - sum(sizes.values())
        return f"{twice} bytes were sent twice" if twice > kills * max(sizes.values()) else ""

    return Round("push", "push", ["push", str(whole), "--repo", name, "--licence", "mit"], wrong)


def different(found: dict[str, str], wanted: dict[str, str]) -> str:
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return f"different: {', '.join(names[:5])}" if names else ""


class Killer:
    """Kills at random moments, and keeps count."""

    def __init__(self, starter: Starter, log: Path, rng: random.Random) -> None:
        self.kills: dict[str, int] = {}
        self.rounds: dict[str, int] = {}
        self._starter = starter
        self._log = log
        self._rng = rng
        self._seconds: dict[str, float] = {}

    def undisturbed(self, command: list[str], kind: str) -> None:
        start = time.monotonic()
        self._starter.start(command)
        self._expect_success(command, self._starter.ended())
        self._seconds[kind] = time.monotonic() - start

    def disturb(self, each: Round, most: int) -> str:
        """Kill a command again and again until it ends; returns what is wrong in the end, or nothing."""
        kills, code = 0, -9
        while code == -9:
            pid = self._starter.start(each.command)
            start = time.monotonic()
            wait = self._rng.uniform(0, self._seconds[each.kind])
            if kills < most and not self._starter.ends_within(wait):
                with suppress(ProcessLookupError):  # it ended just now
                    os.kill(pid, 9)
            code = self._starter.ended()
            kills += code == -9
        if not kills:  # nothing was resumed: this is how long it takes today
            self._seconds[each.kind] = min(self._seconds[each.kind], time.monotonic() - start)
        self._expect_success(each.command, code)
        self.kills[each.part] = self.kills.get(each.part, 0) + kills
        self.rounds[each.part] = self.rounds.get(each.part, 0) + 1
        return each.wrong(kills)

    def _expect_success(self, command: list[str], code: int) -> None:
        if code:
            raise SystemExit(f"`terrasynth {' '.join(command)}` ended with {code}: {self._log.read_text()[-2000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--what", default="run,export,push")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--starter", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.starter:
        serve_commands(options.starter)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return kill_all(options.what.split(","), options.kills, options.seed, Path(folder))


def kill_all(parts: list[str], kills: int, seed: int, out: Path) -> int:
    import yaml

    from tests.hub_server import TOKEN, serving

    (out / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    whole, log, bad = out / "whole", out / "log", 0
    with serving() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0",
            "HF_HOME": str(out / "home"), "OMP_NUM_THREADS": "1",
        }
        starter = Starter(environment, log)
        killer = Killer(starter, log, random.Random(seed))
        killer.undisturbed(["run", str(out / "recipe.yaml"), "--out", str(whole)], "run")
        if "export" in parts:
            for name in FORMATS:
                killer.undisturbed(export_round(out / f"whole-{name}", name, whole).command, f"export {name}")
        if "push" in parts:
            shutil.copytree(whole, out / "pushed")  # a push writes the licence into the card
            killer.undisturbed(push_round("user/whole", out / "pushed", hub).command, "push")
        for number, part in enumerate(parts):
            wanted = kills // len(parts) + (number < kills % len(parts))
            for each in rounds(part, out, whole, hub):
                left = wanted - killer.kills.get(part, 0)
                if left <= 0:
                    break
                wrong = killer.disturb(each, left)
                bad += bool(wrong)
                if wrong:
                    print(f"{' '.join(each.command)}: {wrong}", flush=True)
            print(f"{part}: killed {killer.kills[part]} times in {killer.rounds[part]} rounds", flush=True)
        starter.close()
    print(f"{sum(killer.kills.values())} kills, seed {seed}: " + (f"{bad} rounds WRONG" if bad else "nothing lost, "
                                                                  "doubled or different"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
