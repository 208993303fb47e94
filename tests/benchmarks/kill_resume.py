"""Is a run that is killed again and again the same as one that never was?

    python tests/benchmarks/kill_resume.py --recipe demo --kills 10

Runs the recipe once undisturbed, then once with SIGKILL at random moments, each time started again, and compares
`data/` byte for byte. Prints what it found; exit code 1 when they differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command(recipe: str, out: Path, changes: list[str]) -> list[str]:
    options = [part for change in changes for part in ("--set", change)]
    return [sys.executable, "-m", "terrasynth", "run", recipe, "--out", str(out), *options]


def undisturbed(recipe: str, out: Path, changes: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command(recipe, out, changes), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def blocks(out: Path) -> int:
    return sum(1 for _ in (out / "blocks").glob("*/*.parquet"))


def disturbed(
    recipe: str, out: Path, changes: list[str], kills: int, total: int, pause: float, rng: random.Random
) -> list[int]:
    """Kill at random numbers of finished blocks, up to two `pause` seconds after; gives the blocks there each time."""
    found = []
    for threshold in sorted(rng.randrange(total) for _ in range(kills)):
        process = subprocess.Popen(
            command(recipe, out, changes), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = blocks(out)
        while process.poll() is None and blocks(out) < max(threshold, before):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 2 * pause))
        if process.poll() is None:
            process.kill()
            found.append(blocks(out))
        process.wait()
    undisturbed(recipe, out, changes)
    return found


def fingerprint(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--out", type=Path, help="keep the two runs here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        whole, killed = out / "whole", out / "killed"
        recipe = str(Path(options.recipe).resolve()) if Path(options.recipe).is_file() else options.recipe
        seconds = undisturbed(recipe, whole, options.changes)
        total = blocks(whole)
        print(f"undisturbed: {seconds:.0f} s, {total} blocks", flush=True)
        # Precision is measured at a run's start; the second run has to draw in that of the first to be comparable.
        dtype = json.loads((whole / "runtime.json").read_text())["dtype"]
        changes = [*options.changes, f"runtime.dtype={dtype}"]
        moments = disturbed(
            recipe, killed, changes, options.kills, total, seconds / total / 10, random.Random(options.seed)
        )
        print(f"killed {len(moments)} times, with {moments} of {total} blocks finished", flush=True)
        first, second = fingerprint(whole / "data"), fingerprint(killed / "data")
    for name in sorted(first.keys() | second.keys()):
        print(f"{name}: {'identical' if first.get(name) == second.get(name) else 'DIFFERENT'}")
    return 0 if first == second else 1


if __name__ == "__main__":
    sys.exit(main())
