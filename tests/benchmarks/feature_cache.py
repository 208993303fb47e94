"""What does the feature cache cost on the first pass over pictures, and what does it save on the second?

    python tests/benchmarks/feature_cache.py --n 1024 --encoder clip-ucm-b

Passes in processor time, side by side in one process: without a cache, with an empty one, with a full one; and the full
one read by portions of 16 pictures, as a filter reads blocks. Exit code 1 when a cached pass gives other numbers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from terrasynth.eval import CachedEncoder, load_picture_encoder


def timed(function: Callable[[], np.ndarray], repeats: int = 1) -> tuple[float, np.ndarray]:
    best, result = float("inf"), np.empty(0)
    for _ in range(repeats):
        begun = time.process_time()
        result = function()
        best = min(best, time.process_time() - begun)
    return best, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--side", type=int, default=128, help="pixels a side")
    parser.add_argument("--encoder", default="clip-ucm-b")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pictures = np.random.default_rng(options.seed).integers(
        0, 256, (options.n, options.side, options.side, 3), dtype=np.uint8
    )
    encoder = load_picture_encoder(options.encoder)
    encoder.features(pictures[:64])  # warm
    with tempfile.TemporaryDirectory() as folder:
        def opened() -> CachedEncoder:
            return CachedEncoder(encoder, Path(folder))

        plain, expected = timed(lambda: encoder.features(pictures))
        first, stored = timed(lambda: opened().features(pictures))
        second, found = timed(lambda: opened().features(pictures), 3)
        cache = opened()
        portions, pieces = timed(lambda: np.concatenate(
            [cache.features(pictures[start : start + 16]) for start in range(0, options.n, 16)]
        ), 3)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.safetensors"))
    print(f"{options.n} pictures of {options.side} px, {options.encoder}, {encoder.dim} features, seed {options.seed}")
    print(f"without a cache            {plain:7.2f} s   1")
    for name, seconds in (("an empty one", first), ("a full one", second), ("a full one, by 16", portions)):
        print(f"{name:26} {seconds:7.2f} s   {seconds / plain:.3f}")
    print(f"on disk                    {size / options.n:7.0f} bytes a picture")
    same = all(np.array_equal(expected, each) for each in (stored, found, pieces))
    print("the numbers are the same" if same else "the numbers differ")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
