"""What exact drawing costs: each image in a call of its own on one thread, against a batch of them.

    python tests/benchmarks/exact_price.py --model ldm-ucm --steps 20 --images 8 --rounds 3

Draws the same images in both ways in turn, on one thread, and prints processor seconds an image (the least of the
rounds, since another program on the machine only adds to it), their ratio, and how many pixels differ and by how much.
With `--clock`, on a machine that does nothing else, also by the clock on all threads that torch takes here: a batch on
all of them, against that many images side by side.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ldm-ucm")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", action="store_true", help="also by the clock, on all threads")
    options = parser.parse_args()

    import numpy as np
    import torch

    from terrasynth.synthesis.core.machine import this_machine
    from terrasynth.synthesis.generators.finding import open_generator
    from terrasynth.synthesis.generators.runtime import Runtime
    from terrasynth.synthesis.recipe import RuntimeSettings
    from tests.synthesis.helpers import find

    source = find(options.model, steps=options.steps, guidance=2.0)
    prompts = [f"many planes are parked near building {number}" for number in range(options.images)]
    seeds, threads = list(range(options.images)), torch.get_num_threads()

    def generator(exact, micro_batch):
        settings = RuntimeSettings(device="cpu", exact=exact, micro_batch=micro_batch)
        runtime = Runtime.resolve(settings, None, source.draws_tokens, source.latent_side)
        return open_generator(source, runtime), runtime.dtype

    def timed(drawing, clock):
        start = clock()
        images = drawing.generate(prompts, seeds)
        return (clock() - start) / options.images, images

    found = {"model": options.model, "steps": options.steps, "images": options.images, "rounds": options.rounds,
             "machine": vars(this_machine("cpu"))}
    ways = [("processor", 1, time.process_time, 1), ("clock", threads, time.perf_counter, threads)]
    for name, count, clock, at_once in ways if options.clock else ways[:1]:
        torch.set_num_threads(count)
        (batch, dtype), (alone, _) = generator(False, options.images), generator(True, at_once)
        best, images = {"batch": float("inf"), "exact": float("inf")}, {}
        for round_ in range(options.rounds + 1):
            for way, drawing in (("batch", batch), ("exact", alone)):
                seconds, images[way] = timed(drawing, clock)
                best[way] = min(best[way], seconds) if round_ else best[way]
        apart = np.abs(images["batch"].astype(int) - images["exact"])
        found |= {"dtype": dtype, f"{name}, threads {count}": {
            **{way: round(seconds, 4) for way, seconds in best.items()},
            "ratio": round(best["exact"] / best["batch"], 3),
            "values that differ": int((apart > 0).sum()), "of": apart.size, "by at most": int(apart.max())}}
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
