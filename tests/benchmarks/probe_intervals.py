"""How often do the intervals of `eval downstream --features` hold a known difference, and on which side do they miss?

    python -m tests.benchmarks.probe_intervals [--simulations 400] [--world scores|probes]

`scores`: binary scores of 20 draws by a probit of image, gain by image and draw, whose true difference is known in
closed form; of 210 test images, and of the 10 of one class. `probes`: four classes of Gaussians of which probes learn,
with synthetic images that help or hurt. There the truth is that of 200 other draws of the same real images, tested on
4,000 others. 95 % should hold, and as many miss on either side.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import erf

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.figure import share
from terrasynth.eval.metrics.probes import fit_probes
from terrasynth.synthesis.studies.downstream.figures import crossed_mean

DRAWS, KNOWN_DRAWS, KNOWN_IMAGES = 20, 200, 4000
CLASSES, WIDTH, POOL, OF_CLASS, SYNTHETIC = 4, 6, 40, 3, 20
Simulation = Callable[[int], tuple[NDArray[np.float64], float]]
"""Seed -> differences (draws, images), and the true one."""


def scores(images: int, gain: float) -> Simulation:
    """Scores by a probit."""
    spread, more = 1.2**2 + 0.15**2 + 0.25, 0.4**2 + 0.08**2
    truth = normal((1 + gain) / (spread + more) ** 0.5) - normal(1 / spread**0.5)

    def simulate(seed: int) -> tuple[NDArray[np.float64], float]:
        random = np.random.default_rng(seed)
        level = 1 + random.normal(0, 1.2, images) + random.normal(0, 0.15, (DRAWS, 1))
        gained = random.normal(gain, 0.4, images) + random.normal(0, 0.08, (DRAWS, 1))
        one, other = (level + random.normal(0, 0.5, (DRAWS, images)) for _ in range(2))
        return (other + gained > 0).astype(np.float64) - (one > 0), truth

    return simulate


def probes(images: int, away: float) -> Simulation:
    """Linear probes; synthetic images lie so far from the real ones of their class, towards those of the next."""

    def simulate(seed: int) -> tuple[NDArray[np.float64], float]:
        random = np.random.default_rng(seed)
        centers = random.normal(0, 0.9, (CLASSES, WIDTH))
        drawn = centers + away * (np.roll(centers, 1, 0) - centers)

        def some(means: NDArray[np.float64], n: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
            target = np.repeat(np.arange(CLASSES), n // CLASSES)
            return means[target] + random.normal(size=(len(target), WIDTH)), target

        (real, real_target), (made, made_target) = some(centers, CLASSES * POOL), some(drawn, CLASSES * SYNTHETIC)
        known, target = np.concatenate([real, made]), np.concatenate([real_target, made_target])
        rows = np.stack([
            np.concatenate([place * POOL + random.permutation(POOL)[:OF_CLASS] for place in range(CLASSES)])
            for _ in range(DRAWS + KNOWN_DRAWS)
        ])
        both = np.hstack([rows, np.tile(np.arange(len(real), len(known)), (len(rows), 1))])
        fitted = [fit_probes(known, own, target, CLASSES, 0.1) for own in (rows, both)]

        def difference(n: int, draws: slice) -> NDArray[np.float64]:
            asked, named = some(centers, n)
            one, other = ((each.predict(asked)[draws] == named).astype(np.float64) for each in fitted)
            apart: NDArray[np.float64] = other - one
            return apart

        return difference(images, slice(DRAWS)), float(difference(KNOWN_IMAGES, slice(DRAWS, None)).mean())

    return simulate


def normal(value: float) -> float:
    """The distribution function of the standard normal."""
    return (1 + erf(value / 2**0.5)) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--world", choices=["scores", "probes"], action="append")
    given = parser.parse_args()
    worlds = {
        "scores": {f"{images} images, gain {gain:+}": scores(images, gain) for images in (210, 10)
                   for gain in (-0.3, 0.3)},
        "probes": {f"{images} images, {'useful' if away < 0.5 else 'harmful'} ones": probes(images, away)
                   for images in (208, 12) for away in (0.1, 0.9)},
    }
    for world in given.world or worlds:
        for name, simulate in worlds[world].items():
            truths, widths, above, below = [], [], 0, 0
            for seed in range(given.simulations):
                differences, truth = simulate(seed)
                found = crossed_mean(differences, seed)
                if found.low is None or found.high is None:
                    raise SystemExit("an interval takes two draws at the least")
                above, below = above + (found.low > truth), below + (found.high < truth)
                truths.append(truth)
                widths.append(found.high - found.low)
            held = share(given.simulations - above - below, given.simulations)
            print(f"{world}, {name}: difference {np.mean(truths):+.3f}, held {held}, {above} lay above the truth and "
                  f"{below} below, width {np.mean(widths):.3f}", flush=True)


if __name__ == "__main__":
    main()
