"""Real against real at equal size: what a figure is where there is nothing to tell apart.

A distance of 20 is far or near depending on what other real images are at, and that depends on how many there are.
So real images are split into two random, disjoint samples and measured against each other, and as many generated
ones are measured against the same real samples: two figures that may be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REPEATS = 10

Features = NDArray[np.floating]


@dataclass(frozen=True)
class AtEqualSize:
    """One figure of real and of generated images, in samples of the same size.

    Attributes:
        real: Mean over the repeats, of real images: the floor of a distance, the ceiling of a share.
        low: Smallest of these.
        high: Largest of these.
        generated: Mean over the repeats, of generated images.
        n: Images in a sample, of each side where there are two.
        repeats: Number of random samples.
    """

    real: float
    low: float
    high: float
    generated: float
    n: int
    repeats: int
    seed: int


def against_real(
    measure: Callable[[Features, Features], Mapping[str, float]], pictures: Features, real: Features, seed: int,
    repeats: int = REPEATS,
) -> dict[str, AtEqualSize]:
    """Measure real against other real images, and generated against the same real ones.

    Args:
        measure: Figures by name of two arrays: images, and real images to compare them with.
        pictures: Of the generated images (N, F).
        real: Of the real ones (M, F). A sample holds half of them, or N where that is less.
        repeats: Number of random samples.
    """
    n = min(len(pictures), len(real) // 2)
    generator, own = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    found: list[tuple[Mapping[str, float], Mapping[str, float]]] = []
    for _ in range(repeats):
        order = generator.permutation(len(real))  # the splits of `frechet_floor`
        one, other = real[order[:n]], real[order[n : 2 * n]]
        found.append((measure(one, other), measure(pictures[own.permutation(len(pictures))[:n]], other)))
    return _summary(found, n, repeats, seed)


def as_many_real(
    measure: Callable[[Features], Mapping[str, float]], pictures: Features, real: Features, seed: int,
    repeats: int = REPEATS,
) -> dict[str, AtEqualSize]:
    """Measure a figure that needs no comparison on as many real as generated images: the smaller of both numbers.

    Args:
        measure: Figures by name of one array.
        pictures: Of the generated images (N, F).
        real: Of the real ones (M, F).
        repeats: Number of random samples.
    """
    n = min(len(pictures), len(real))
    generator = np.random.default_rng(seed)
    found = [
        (measure(real[generator.permutation(len(real))[:n]]),
         measure(pictures[generator.permutation(len(pictures))[:n]]))
        for _ in range(repeats)
    ]
    return _summary(found, n, repeats, seed)


def _summary(
    found: list[tuple[Mapping[str, float], Mapping[str, float]]], n: int, repeats: int, seed: int
) -> dict[str, AtEqualSize]:
    summary = {}
    for name in found[0][0]:
        real, generated = ([each[side][name] for each in found] for side in (0, 1))
        summary[name] = AtEqualSize(
            float(np.mean(real)), float(min(real)), float(max(real)), float(np.mean(generated)), n, repeats, seed
        )
    return summary
