"""How much faster is the Frechet distance here than by `numpy.cov` and `scipy.linalg.sqrtm`?

    python tests/benchmarks/frechet_speed.py --n 50000 --dim 2048

Features of both sets are drawn once, written to a file as float32, and read back by either side as any cache of
features would be: `FeatureStatistics.of` on the mapped file and `frechet_distance`, against mean, `numpy.cov` and the
matrix square root of the product of the covariances, as most published code has it. Both sides run one after the other
in one process, first with a single thread, then with all. The ratio is that of processor time for a single thread,
which other work on the machine does not lengthen, and of the clock for all. Exit code 1 where the distances differ by
more than 1e-4 of their size, or where ours takes a third of the time or more.

`--small-reference` gives the second set fewer pictures than features, where a covariance is singular.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LIMIT, TOLERANCE = 1 / 3, 1e-4


def draw(path: Path, n: int, dim: int, seed: int) -> None:
    """Features as networks give them: a falling spectrum, and directions that belong to no single feature."""
    import numpy as np

    generator = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]
    mix = (turn * np.exp(-np.arange(dim) / (dim / 8))[:, None]).astype(np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, dim))
    for start in range(0, n, 4096):
        rows = min(4096, n - start)
        drawn = generator.standard_normal((rows, dim), np.float32)
        out[start : start + rows] = (drawn * np.float32(1 + 0.05 * seed) + np.float32(0.02 * seed)) @ mix
    out.flush()


def ours(paths: list[Path]) -> float:
    import numpy as np

    from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance

    return frechet_distance(*(FeatureStatistics.of(np.load(path, mmap_mode="r")) for path in paths))


def theirs(paths: list[Path]) -> float:
    import numpy as np
    import scipy.linalg

    moments = []
    for path in paths:
        features = np.load(path, mmap_mode="r").astype(np.float64)
        moments.append((features.mean(0), np.cov(features, rowvar=False)))
    (mean_a, a), (mean_b, b) = moments
    root = scipy.linalg.sqrtm(a @ b)
    difference = mean_a - mean_b
    return float(difference @ difference + np.trace(a) + np.trace(b) - 2 * np.trace(root).real)


def compare(paths: list[Path], threads: str) -> int:
    import numpy as np
    import scipy.linalg

    for way in (np.linalg.eigvalsh, scipy.linalg.sqrtm):  # libraries start up outside of the measurement
        way(np.eye(8))
    clock, processor, distances = [], [], []
    for way in (ours, theirs):
        begun = time.perf_counter(), time.process_time()
        distances.append(way(paths))
        clock.append(time.perf_counter() - begun[0])
        processor.append(time.process_time() - begun[1])
    seconds = processor if threads == "single" else clock
    ratio, error = seconds[0] / seconds[1], abs(distances[0] - distances[1]) / abs(distances[1])
    for name, i in (("ours", 0), ("numpy.cov and scipy.linalg.sqrtm", 1)):
        print(f"{threads}: {name}: {processor[i]:.1f} s of processors, {clock[i]:.1f} s by the clock, distance "
              f"{distances[i]:.6f}")
    print(f"{threads}: ratio {ratio:.3f}; distances apart by {error:.1e} of their size", flush=True)
    return 0 if ratio < LIMIT and error < TOLERANCE else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--small-reference", action="store_true")
    parser.add_argument("--threads", choices=("single", "all", "both"), default="both")
    parser.add_argument("--scratch", type=Path, help="Folder with room for both sets; by default the system's.")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return compare([Path(each) for each in options.run[:2]], options.run[2])
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        paths = [Path(folder) / f"{name}.npy" for name in ("pictures", "reference")]
        sizes = options.n, options.dim // 2 if options.small_reference else options.n
        for seed, (path, n) in enumerate(zip(paths, sizes, strict=True)):
            draw(path, n, options.dim, seed)
        print(f"{sizes[0]:,} and {sizes[1]:,} pictures, {options.dim} features, {os.cpu_count()} cores", flush=True)
        failed = 0
        for threads in ("single", "all"):
            if options.threads in (threads, "both"):
                set_threads = dict.fromkeys(THREADS, "1") if threads == "single" else {}
                environment = {key: value for key, value in os.environ.items() if key not in THREADS} | set_threads
                command = [sys.executable, __file__, "--run", *map(str, paths), threads]
                failed |= subprocess.run(command, env=environment, check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
